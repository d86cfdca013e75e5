#include "base/log.h"

#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cmath>
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

// As %.3g, but never with an exponent.
std::string three_digits(double value) {
  char text[40];
  std::snprintf(text, sizeof(text), value < 999.5 ? "%.3g" : "%.0f", value);
  return text;
}

volatile sig_atomic_t interrupts = 0;

void on_signal(int) {
  if (interrupts > 0) _exit(130);
  interrupts = 1;
}

}  // namespace

void set_quiet(bool quiet) {
  logger().set_level(quiet ? spdlog::level::warn : spdlog::level::info);
}
void log_info(const std::string& message) { logger().info(message); }
void log_warning(const std::string& message) { logger().warn("warning: {}", message); }

Progress::Progress(std::string what)
    : what_(std::move(what)), start_(std::chrono::steady_clock::now()), last_(start_) {}

Progress::~Progress() {
  if (shown_ && isatty(2)) std::fputs("\n", stderr);
}

void Progress::update(double fraction, const std::string& detail) {
  if (!logger().should_log(spdlog::level::info)) return;
  const auto now = std::chrono::steady_clock::now();
  const bool terminal = isatty(2);
  const auto pause = terminal ? std::chrono::milliseconds(200) : std::chrono::milliseconds(10000);
  if (now - last_ < pause && fraction < 1.0) return;
  last_ = now;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  std::string line = what_ + "  " + detail;
  if (fraction > 0 && fraction < 1)
    line += "  left " + format_duration(elapsed / fraction * (1 - fraction));
  if (fraction >= 1) line += "  took " + format_duration(elapsed);
  std::fprintf(stderr, terminal ? "\r\033[K%s" : "%s\n", line.c_str());
  std::fflush(stderr);
  shown_ = true;
}

std::string format_duration(double seconds) {
  const long s = std::lround(std::max(0.0, seconds));
  char text[40];
  if (s >= 3600) {
    std::snprintf(text, sizeof(text), "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
  } else {
    std::snprintf(text, sizeof(text), "%ld:%02ld", s / 60, s % 60);
  }
  return text;
}

std::string format_bytes(double bytes) {
  const char* unit = "B";
  for (const char* larger : {"KiB", "MiB", "GiB", "TiB"}) {
    if (bytes < 1023.5) break;  // 1023.7 would be shown as 1024
    bytes /= 1024;
    unit = larger;
  }
  return three_digits(bytes) + " " + unit;
}

std::string format_megabytes(double bytes) {
  const double megabytes = bytes / 1e6;
  char text[40];
  std::snprintf(text, sizeof(text), megabytes < 1 ? "%.3g MB" : "%.1f MB", megabytes);
  return text;
}

void install_interrupt_handler() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}
bool interrupted() { return interrupts > 0; }
void clear_interrupt() { interrupts = 0; }

}  // namespace bitsmith
