// Standard error and Ctrl-C of a program, for its main(). Libraries know neither: they see
// base/run_context.h and base/log.h. spdlog is behind this, seen only by terminal.cpp.
#pragma once
#include <chrono>
#include <string>

#include "base/log.h"
#include "base/run_context.h"

namespace bitsmith {

// Messages as lines, and a task as one line that is rewritten in place on a terminal, and printed
// now and then elsewhere:
//   "quantizing  12/30 blocks  worst error 0.043  left 2:31"
// All on stderr; stdout is for results.
class Terminal : public ProgressSink {
 public:
  void set_quiet(bool quiet);  // only warnings remain
  void say(Severity severity, const std::string& message);

  void begin(const std::string& task) override;
  // The time left is extrapolated from the fraction. Cheap: prints at most 5 times a second on a
  // terminal, every 10 seconds elsewhere.
  void update(double fraction, const std::string& detail) override;
  void end() override;

 private:
  std::string task_;
  std::chrono::steady_clock::time_point start_, last_;
  bool shown_ = false;
};

// SIGINT, SIGTERM and SIGUSR1 (which mpirun hands on, and batch systems send before the time is
// over) raise `flag`, which outlives the process's work; one that comes while the flag is up ends
// the process. Throws Error where the system has no descriptors left.
void install_interrupt_handler(CancelFlag& flag);
// Sleeps until `descriptor` can be read or has ended. False where the flag is up, or is raised
// meanwhile by a signal, whichever thread takes it. For one thread.
bool wait_for_input(int descriptor);

}  // namespace bitsmith
