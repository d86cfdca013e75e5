// One connection's socket as cpp-httplib reads and writes it: with a time for each whole request
// rather than each byte, with a limit of bytes, and with an eye on whether the peer is still there.
// Only for http_server.cpp.
#pragma once
#include <httplib.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

namespace bitsmith {

class Connection : public httplib::Stream {
 public:
  using Clock = std::chrono::steady_clock;
  // `stopping`: nothing more is read once it is true; it outlives this.
  Connection(socket_t socket, int64_t most_bytes, std::chrono::seconds read_time,
             const std::atomic<bool>& stopping);

  // Waits for the first byte of a request; false: none came in time, or the peer has gone.
  bool wait_for_request(std::chrono::seconds most);
  // Whether the peer has closed its side.
  bool disconnected() const;
  // Nothing more can be read after this request: its body was not taken.
  bool must_close = false;

  bool is_readable() const override;
  bool is_writable() const override;
  ssize_t read(char* data, size_t size) override;
  ssize_t write(const char* data, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return socket_; }

 private:
  // Whether one of the events, or the end, came before the deadline.
  bool wait(short events, Clock::time_point deadline) const;

  socket_t socket_;
  int64_t bytes_left_;
  std::chrono::seconds read_time_;
  const std::atomic<bool>& stopping_;
  Clock::time_point read_deadline_;
};

}  // namespace bitsmith
