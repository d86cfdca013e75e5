// What long work is given by its caller besides its inputs: where progress goes, when to stop, how
// many threads, which seed, with which other processes. Messages go to the sink of base/log.h.
#pragma once
#include <atomic>
#include <cstdint>
#include <string>

#include "base/communicator.h"

namespace bitsmith {

// Raised by any thread or signal handler, polled by the work that it stops.
class CancelFlag {
 public:
  void raise() noexcept { raised_.store(true, std::memory_order_relaxed); }
  void clear() noexcept { raised_.store(false, std::memory_order_relaxed); }
  bool raised() const noexcept { return raised_.load(std::memory_order_relaxed); }

 private:
  static_assert(std::atomic<bool>::is_always_lock_free);  // else no signal handler may raise it
  std::atomic<bool> raised_ = false;
};

// Receives the progress of one task at a time, from the thread that runs it.
class ProgressSink {
 public:
  virtual ~ProgressSink() = default;
  virtual void begin(const std::string& task) = 0;  // "quantizing"
  // fraction in [0, 1]. May be called thousands of times a second.
  virtual void update(double fraction, const std::string& detail) = 0;
  virtual void end() = 0;  // also where the task failed
};

// Passed by reference or copied; sink, flag and communicator belong to the caller and outlive the
// work. The default: no progress, no way to stop, one thread of one process.
struct RunContext {
  ProgressSink* progress = nullptr;    // null: nobody wants to know
  const CancelFlag* cancel = nullptr;  // null: cannot be stopped
  uint64_t seed = 0;                   // of everything random
  int threads = 1;
  // The processes that do this work together, all by the same calls. Never null.
  Communicator* communicator = &Communicator::alone();

  // Work that finds it true saves its state and throws Interrupted.
  bool cancelled() const { return cancel != nullptr && cancel->raised(); }
  // The same on all ranks, for work that must stop at the same place everywhere. Collective.
  bool cancelled_anywhere() const { return communicator->any(cancelled()); }
  // For work of this process alone.
  RunContext alone() const {
    RunContext context = *this;
    context.communicator = &Communicator::alone();
    return context;
  }
};

// A task that a context's sink is shown, from construction to destruction.
class ReportedTask {
 public:
  ReportedTask(const RunContext& context, const std::string& task) : sink_(context.progress) {
    if (sink_) sink_->begin(task);
  }
  ~ReportedTask() {
    if (sink_) sink_->end();
  }
  ReportedTask(const ReportedTask&) = delete;
  ReportedTask& operator=(const ReportedTask&) = delete;

  void update(double fraction, const std::string& detail) {
    if (sink_) sink_->update(fraction, detail);
  }

 private:
  ProgressSink* sink_;
};

}  // namespace bitsmith
