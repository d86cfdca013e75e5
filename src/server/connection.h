// One connection's socket as cpp-httplib reads and writes it: with a time for each whole request
// rather than each byte, with limits of bytes, and with an eye on whether the peer is still there.
// Only for http_server.cpp.
#pragma once
#include <httplib.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

namespace bitsmith {

struct ConnectionLimits {
  int64_t header_bytes, request_bytes;  // of each request; the second with its header
  std::chrono::seconds read_time;       // from its first byte to its last
};

class Connection : public httplib::Stream {
 public:
  using Clock = std::chrono::steady_clock;
  // `stopping`: nothing more is read once it is true; it outlives this.
  Connection(socket_t socket, const ConnectionLimits& limits, const std::atomic<bool>& stopping);

  // Waits for the first byte of the next request; false: none came in time, or the peer has gone.
  bool wait_for_request(std::chrono::seconds most);
  // Whether the peer has gone. One that has closed its sending side may still wait for the answer:
  // it is sent an interim response, if may_ask, which resets the connection where nobody is there.
  bool disconnected();
  // An interim response may be sent now (RFC 9110, section 15.2): the request is of HTTP/1.1 and
  // its answer has not begun.
  bool may_ask = false;
  // The request did not come in its time.
  bool timed_out() const { return timed_out_; }
  // The header of the request, or a line of it, is longer than what is read.
  bool header_too_long() const { return header_too_long_; }
  // Nothing more can be read after this request: its end was not found.
  bool must_close = false;

  bool is_readable() const override;
  bool is_writable() const override;
  ssize_t read(char* data, size_t size) override;
  ssize_t write(const char* data, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return socket_; }

 private:
  // Whether both sides are closed, or the connection was reset.
  bool closed() const;
  // Whether one of the events, or the end, came before the deadline.
  bool wait(short events, Clock::time_point deadline) const;
  bool has_buffered() const { return begin_ < end_; }
  // Looks for the empty line that ends the header. False: the header is too long.
  bool count_header(const char* data, int64_t size);

  socket_t socket_;
  ConnectionLimits limits_;
  const std::atomic<bool>& stopping_;
  Clock::time_point read_deadline_;
  int64_t bytes_ = 0, line_bytes_ = 0;  // of this request, and of its header's present line
  char last_ = 0;                       // of that line
  bool in_header_ = true;
  mutable bool timed_out_ = false;
  bool header_too_long_ = false;
  std::array<char, 4096> buffer_;
  size_t begin_ = 0, end_ = 0;  // what of the buffer was not handed out
};

}  // namespace bitsmith
