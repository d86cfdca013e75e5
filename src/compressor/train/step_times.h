// Where the time of a training step goes. The code of a step marks its parts by TimedPart, whoever
// wants to know holds a StepClock meanwhile.
#pragma once
#include <array>
#include <chrono>
#include <cstddef>

namespace bitsmith {

enum class StepPart {
  kTeacher,     // its forward pass up to the final hidden states
  kStudent,     // the student's
  kLoss,        // logits of both, the loss, its gradient by the student's hidden states
  kBackward,    // the student's backward pass, with the sums over micro-batches
  kContinuous,  // from dense gradients to those of continuous parameters
  kOptimizer,   // Adam, of continuous parameters and of code rules
  kCodes,       // the search for codes, and what it takes of targets
  kDequantize,  // the dense matrices anew
  kOther,
};
inline constexpr size_t kStepParts = 9;

// "teacher", "student", ...: as in the log of a run.
const char* step_part_name(StepPart part);

// Seconds of each part, in the order of StepPart.
using StepSeconds = std::array<double, kStepParts>;

// Counts the seconds of the parts that its own thread marks while it lives; what is in none is
// kOther. Of clocks of one thread, the youngest counts.
class StepClock {
 public:
  StepClock();
  ~StepClock();
  StepClock(const StepClock&) = delete;
  // Up to now.
  StepSeconds seconds();

 private:
  friend class TimedPart;
  using Clock = std::chrono::steady_clock;
  // Returns the part that was running.
  StepPart run(StepPart part);

  StepSeconds seconds_ = {};
  StepPart running_ = StepPart::kOther;
  Clock::time_point since_ = Clock::now();
  StepClock* outer_;
};

// Marks what happens while it lives as `part`. A part inside of another is not counted in that.
class TimedPart {
 public:
  explicit TimedPart(StepPart part);
  ~TimedPart();
  TimedPart(const TimedPart&) = delete;

 private:
  StepClock* clock_;  // null: nobody wants to know
  StepPart outer_ = StepPart::kOther;
};

}  // namespace bitsmith
