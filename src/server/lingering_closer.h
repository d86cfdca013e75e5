// Closes sockets whose last words were written. A socket that is closed before its peer has sent
// everything resets the connection, and the peer may never read the words (RFC 9112, section 9.6):
// for a while what still comes is read and dropped. In a thread of its own, so that nobody waits.
#pragma once
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace bitsmith {

class LingeringCloser {
 public:
  // At most so many sockets at once, each for so long.
  LingeringCloser(size_t most, std::chrono::milliseconds time);
  ~LingeringCloser();  // closes all
  LingeringCloser(const LingeringCloser&) = delete;
  LingeringCloser& operator=(const LingeringCloser&) = delete;

  // Takes the socket over; beyond the most it is closed at once. Does not wait. From any thread.
  void close(int socket);

 private:
  using Clock = std::chrono::steady_clock;
  struct Entry {
    int socket;
    Clock::time_point deadline;
  };
  void loop();

  const size_t most_;
  const std::chrono::milliseconds time_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Entry> added_;  // which the thread has not seen
  size_t open_ = 0;           // sockets of both threads
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace bitsmith
