#include "base/log.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

namespace bitsmith {
namespace {

LogSink& log_sink() {
  static LogSink sink;
  return sink;
}

void log(Severity severity, const std::string& message) {
  if (log_sink()) log_sink()(severity, message);
}

// As %.3g, but never with an exponent.
std::string three_digits(double value) {
  char text[40];
  std::snprintf(text, sizeof(text), value < 999.5 ? "%.3g" : "%.0f", value);
  return text;
}

}  // namespace

void set_log_sink(LogSink sink) { log_sink() = std::move(sink); }
void log_info(const std::string& message) { log(Severity::kInfo, message); }
void log_warning(const std::string& message) { log(Severity::kWarning, message); }

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

}  // namespace bitsmith
