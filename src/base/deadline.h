// A time by which work must have ended; the work polls it.
#pragma once
#include <chrono>

#include "base/error.h"

namespace bitsmith {

class DeadlineError : public Error {
 public:
  using Error::Error;
};

class Deadline {
 public:
  using Clock = std::chrono::steady_clock;
  Deadline() = default;  // never
  explicit Deadline(std::chrono::seconds from_now) : end_(Clock::now() + from_now) {}

  bool passed() const { return end_ != Clock::time_point::max() && Clock::now() >= end_; }
  // Throws DeadlineError.
  void check() const {
    if (passed()) throw DeadlineError("the time limit is over");
  }

 private:
  Clock::time_point end_ = Clock::time_point::max();
};

}  // namespace bitsmith
