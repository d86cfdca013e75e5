#include "compressor/train/step_times.h"

#include <utility>

namespace bitsmith {
namespace {

thread_local StepClock* step_clock = nullptr;

}  // namespace

const char* step_part_name(StepPart part) {
  constexpr std::array<const char*, kStepParts> kNames = {"teacher",  "student",    "loss",
                                                          "backward", "continuous", "optimizer",
                                                          "codes",    "dequantize", "other"};
  return kNames.at(static_cast<size_t>(part));
}

StepClock::StepClock() : outer_(std::exchange(step_clock, this)) {}
StepClock::~StepClock() { step_clock = outer_; }

StepPart StepClock::run(StepPart part) {
  const auto now = Clock::now();
  seconds_[static_cast<size_t>(running_)] += std::chrono::duration<double>(now - since_).count();
  since_ = now;
  return std::exchange(running_, part);
}

StepSeconds StepClock::seconds() {
  run(running_);
  return seconds_;
}

TimedPart::TimedPart(StepPart part) : clock_(step_clock) {
  if (clock_ != nullptr) outer_ = clock_->run(part);
}
TimedPart::~TimedPart() {
  if (clock_ != nullptr) clock_->run(outer_);
}

}  // namespace bitsmith
