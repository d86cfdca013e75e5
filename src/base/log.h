// Messages to people, all on stderr (stdout is for results). spdlog is behind this, seen only by
// log.cpp.
#pragma once
#include <atomic>
#include <chrono>
#include <string>

namespace bitsmith {

void set_quiet(bool quiet);  // only warnings remain
void log_info(const std::string& message);
void log_warning(const std::string& message);

// One line that is rewritten in place on a terminal, and printed now and then elsewhere:
//   "quantizing 12/30 blocks  worst error 0.043  left 2:31"
class Progress {
 public:
  explicit Progress(std::string what);
  ~Progress();
  // fraction in [0, 1]; the time left is extrapolated from it. Cheap: prints at most 5 times a
  // second on a terminal, every 10 seconds elsewhere.
  void update(double fraction, const std::string& detail);

 private:
  std::string what_;
  std::chrono::steady_clock::time_point start_, last_;
  bool shown_ = false;
};

// "1:23:45", "2:31" from seconds; "1.23 GiB", "509 MiB" from bytes of memory; "71.3 MB",
// "0.0516 MB" from bytes of weights (decimal, always MB: for columns of tables).
std::string format_duration(double seconds);
std::string format_bytes(double bytes);
std::string format_megabytes(double bytes);

// SIGINT and SIGTERM set a flag that long work polls; a second one ends the process.
void install_interrupt_handler();
bool interrupted();
void clear_interrupt();

}  // namespace bitsmith
