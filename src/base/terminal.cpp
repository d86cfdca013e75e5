#include "base/terminal.h"

#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>

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

void on_signal(int) {
  CancelFlag* flag = signaled.load();
  if (flag == nullptr || flag->raised()) _exit(130);
  flag->raise();
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
  signaled = &flag;
  struct sigaction action {};
  action.sa_handler = on_signal;
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaction(signal, &action, nullptr);
}

}  // namespace bitsmith
