#include "server/connection.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

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

Connection::Connection(socket_t socket, int64_t most_bytes, std::chrono::seconds read_time,
                       const std::atomic<bool>& stopping)
    : socket_(socket),
      bytes_left_(most_bytes),
      read_time_(read_time),
      stopping_(stopping),
      read_deadline_(Clock::now() + read_time) {}

bool Connection::wait(short events, Clock::time_point deadline) const {
  for (;;) {
    pollfd entry{socket_, events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(kSlice.count()));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
    if (stopping_) {
      if (events == POLLIN) return false;
      deadline = std::min(deadline, Clock::now() + kLastWriteTime);
    }
    if (Clock::now() >= deadline) return false;
  }
}

bool Connection::wait_for_request(std::chrono::seconds most) {
  char byte;
  if (!wait(POLLIN, Clock::now() + most)) return false;
  read_deadline_ = Clock::now() + read_time_;
  return ::recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

bool Connection::disconnected() const {
  pollfd entry{socket_, POLLRDHUP, 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

bool Connection::is_readable() const { return wait(POLLIN, read_deadline_); }

bool Connection::is_writable() const {
  return wait(POLLOUT, Clock::now() + kWriteTime) && !disconnected();
}

ssize_t Connection::read(char* data, size_t size) {
  if (bytes_left_ <= 0 || !is_readable()) return -1;
  size = std::min(size, static_cast<size_t>(bytes_left_));
  for (;;) {
    const ssize_t count = ::recv(socket_, data, size, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count > 0) bytes_left_ -= count;
    return count;
  }
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
