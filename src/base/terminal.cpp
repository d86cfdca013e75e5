#include "base/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>

#include "base/error.h"

namespace bitsmith {
namespace {

spdlog::logger& logger() {
  static const auto instance = [] {
    auto created = spdlog::stderr_color_mt("bitsmith");
    created->set_pattern("%^%v%$");
    return created;
  }();
  return *instance;
}

std::atomic<CancelFlag*> signaled = nullptr;
// A byte in it wakes wait_for_input(), also where the signal came just before that slept.
int wake_pipe[2] = {-1, -1};

void on_signal(int) {
  CancelFlag* flag = signaled.load();
  if (flag == nullptr || flag->raised()) _exit(130);
  flag->raise();
  const int error = errno;
  // Where the pipe is full it wakes without this byte.
  [[maybe_unused]] const ssize_t written = ::write(wake_pipe[1], "", 1);
  errno = error;
}

}  // namespace

void Terminal::set_quiet(bool quiet) {
  logger().set_level(quiet ? spdlog::level::warn : spdlog::level::info);
}

void Terminal::say(Severity severity, const std::string& message) {
  if (severity == Severity::kWarning) {
    logger().warn("warning: {}", message);
  } else {
    logger().info(message);
  }
}

void Terminal::begin(const std::string& task) {
  task_ = task;
  start_ = last_ = std::chrono::steady_clock::now();
  shown_ = false;
}

void Terminal::update(double fraction, const std::string& detail) {
  if (!logger().should_log(spdlog::level::info)) return;
  const auto now = std::chrono::steady_clock::now();
  const bool terminal = isatty(2);
  const auto pause = terminal ? std::chrono::milliseconds(200) : std::chrono::milliseconds(10000);
  if (now - last_ < pause && fraction < 1.0) return;
  last_ = now;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  std::string line = task_ + "  " + detail;
  if (fraction > 0 && fraction < 1)
    line += "  left " + format_duration(elapsed / fraction * (1 - fraction));
  if (fraction >= 1) line += "  took " + format_duration(elapsed);
  std::fprintf(stderr, terminal ? "\r\033[K%s" : "%s\n", line.c_str());
  std::fflush(stderr);
  shown_ = true;
}

void Terminal::end() {
  if (shown_ && isatty(2)) std::fputs("\n", stderr);
  shown_ = false;
}

void install_interrupt_handler(CancelFlag& flag) {
  if (wake_pipe[0] < 0 && ::pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
    throw Error(concat("cannot make a pipe: ", std::strerror(errno)));
  signaled = &flag;
  struct sigaction action {};
  action.sa_handler = on_signal;
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaction(signal, &action, nullptr);
}

bool wait_for_input(int descriptor) {
  const CancelFlag* flag = signaled.load();
  for (;;) {
    if (flag != nullptr && flag->raised()) return false;
    pollfd inputs[] = {{.fd = descriptor, .events = POLLIN, .revents = 0},
                       {.fd = wake_pipe[0], .events = POLLIN, .revents = 0}};
    if (::poll(inputs, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return true;  // reading says what is wrong
    }
    if (inputs[1].revents == 0) return true;
    char bytes[64];  // of this signal, or of one whose flag was cleared long ago
    while (::read(wake_pipe[0], bytes, sizeof(bytes)) > 0) {
    }
  }
}

}  // namespace bitsmith
