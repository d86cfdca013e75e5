#include "server/lingering_closer.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

namespace bitsmith {
namespace {

constexpr int kLook = 50;  // milliseconds until new sockets, and the end, are noticed

// Whether the peer may send more.
bool drop_input(int socket) {
  std::array<char, 16384> dropped;
  const ssize_t count = ::recv(socket, dropped.data(), dropped.size(), MSG_DONTWAIT);
  return count > 0;
}

}  // namespace

LingeringCloser::LingeringCloser(size_t most, std::chrono::milliseconds time)
    : most_(most), time_(time), thread_([this] { loop(); }) {}

LingeringCloser::~LingeringCloser() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void LingeringCloser::close(int socket) {
  ::shutdown(socket, SHUT_WR);
  {
    const std::lock_guard lock(mutex_);
    if (open_ < most_ && !stopping_) {
      ++open_;
      added_.push_back({socket, Clock::now() + time_});
      socket = -1;
    }
  }
  if (socket >= 0)
    ::close(socket);
  else
    wake_.notify_one();
}

void LingeringCloser::loop() {
  std::vector<Entry> entries;
  for (bool stopping = false; !stopping;) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || !added_.empty() || !entries.empty(); });
      entries.insert(entries.end(), added_.begin(), added_.end());
      added_.clear();
      stopping = stopping_;
    }
    std::vector<pollfd> polled;
    for (const Entry& entry : entries) polled.push_back({entry.socket, POLLIN, 0});
    if (!stopping) ::poll(polled.data(), polled.size(), kLook);
    std::vector<Entry> rest;
    for (size_t i = 0; i < entries.size(); ++i) {
      const bool over = stopping || Clock::now() >= entries[i].deadline ||
                        (polled[i].revents != 0 && !drop_input(entries[i].socket));
      if (over)
        ::close(entries[i].socket);
      else
        rest.push_back(entries[i]);
    }
    const std::lock_guard lock(mutex_);
    open_ -= entries.size() - rest.size();
    entries = std::move(rest);
  }
}

}  // namespace bitsmith
