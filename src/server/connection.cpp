#include "server/connection.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace bitsmith {
namespace {

constexpr std::chrono::milliseconds kSlice(100);
constexpr std::chrono::seconds kWriteTime(30);
constexpr std::chrono::milliseconds kLastWriteTime(500);  // each time, once the server stops

template <typename GetName>
void name_of(const GetName& get_name, std::string& ip, int& port) {
  sockaddr_storage address = {};
  socklen_t length = sizeof(address);
  char host[NI_MAXHOST], service[NI_MAXSERV];
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (get_name(generic, &length) != 0 ||
      ::getnameinfo(generic, length, host, sizeof(host), service, sizeof(service),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return;
  ip = host;
  port = std::atoi(service);
}

}  // namespace

Connection::Connection(socket_t socket, const ConnectionLimits& limits,
                       const std::atomic<bool>& stopping)
    : socket_(socket), limits_(limits), stopping_(stopping), read_deadline_(Clock::now()) {}

bool Connection::wait(short events, Clock::time_point deadline) const {
  for (;;) {
    if (stopping_ && events == POLLIN) return false;  // also where bytes never stop coming
    pollfd entry{socket_, events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(kSlice.count()));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
    if (stopping_) deadline = std::min(deadline, Clock::now() + kLastWriteTime);
    if (Clock::now() >= deadline) return false;
  }
}

bool Connection::wait_for_request(std::chrono::seconds most) {
  bytes_ = line_bytes_ = 0;
  in_header_ = true;
  header_too_long_ = false;
  may_ask = false;
  if (!has_buffered()) {
    char byte;
    if (!wait(POLLIN, Clock::now() + most)) return false;
    if (::recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0) return false;
  }
  read_deadline_ = Clock::now() + limits_.read_time;
  return true;
}

bool Connection::disconnected() {
  if (closed()) return true;
  pollfd entry{socket_, POLLRDHUP, 0};
  const bool half_closed = ::poll(&entry, 1, 0) > 0 && (entry.revents & POLLRDHUP) != 0;
  if (half_closed && std::exchange(may_ask, false)) {
    constexpr std::string_view kInterim = "HTTP/1.1 100 Continue\r\n\r\n";
    ::send(socket_, kInterim.data(), kInterim.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  return false;
}

bool Connection::closed() const {
  pollfd entry{socket_, 0, 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & (POLLHUP | POLLERR)) != 0;
}

bool Connection::is_readable() const {
  if (has_buffered() || wait(POLLIN, read_deadline_)) return true;
  timed_out_ = Clock::now() >= read_deadline_;
  return false;
}

bool Connection::is_writable() const {
  return wait(POLLOUT, Clock::now() + kWriteTime) && !closed();
}

ssize_t Connection::read(char* data, size_t size) {
  // The deadline holds also where bytes never stop coming.
  if (Clock::now() >= read_deadline_ || !is_readable()) {
    timed_out_ = timed_out_ || Clock::now() >= read_deadline_;
    return -1;
  }
  if (!has_buffered()) {
    ssize_t count;
    do {
      count = ::recv(socket_, buffer_.data(), buffer_.size(), 0);
    } while (count < 0 && errno == EINTR);
    if (count <= 0) return count;
    begin_ = 0;
    end_ = static_cast<size_t>(count);
  }
  size = std::min(size, end_ - begin_);
  const char* from = buffer_.data() + begin_;
  if (!count_header(from, static_cast<int64_t>(size))) return -1;
  std::copy_n(from, size, data);
  begin_ += size;
  return static_cast<ssize_t>(size);
}

bool Connection::count_header(const char* data, int64_t size) {
  // An empty line is its CR LF, as the library has it. Of longer lines than it takes, LF and all,
  // the library says 400 alone.
  for (int64_t i = 0; i < size && in_header_; ++i) {
    if (data[i] != '\n') {
      header_too_long_ |= ++line_bytes_ >= CPPHTTPLIB_HEADER_MAX_LENGTH;
      last_ = data[i];
    } else {
      in_header_ = line_bytes_ != 1 || last_ != '\r';
      line_bytes_ = 0;
    }
  }
  bytes_ += size;
  header_too_long_ |= in_header_ && bytes_ > limits_.header_bytes;
  return bytes_ <= (in_header_ ? limits_.header_bytes : limits_.request_bytes);
}

ssize_t Connection::write(const char* data, size_t size) {
  if (!wait(POLLOUT, Clock::now() + kWriteTime)) return -1;
  for (;;) {
    const ssize_t count = ::send(socket_, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
    return count;
  }
}

void Connection::get_remote_ip_and_port(std::string& ip, int& port) const {
  name_of([&](sockaddr* a, socklen_t* n) { return ::getpeername(socket_, a, n); }, ip, port);
}

void Connection::get_local_ip_and_port(std::string& ip, int& port) const {
  name_of([&](sockaddr* a, socklen_t* n) { return ::getsockname(socket_, a, n); }, ip, port);
}

}  // namespace bitsmith
