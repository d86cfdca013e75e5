// What one rendering may cost, so that no template takes all time or memory.
#pragma once
#include <cstdint>

#include "base/deadline.h"
#include "base/error.h"
#include "tokenizer/jinja/value.h"

namespace bitsmith::jinja {

struct Limits {
  int64_t steps = 30'000'000;         // expressions, statements, values made; each 64 bytes of text
  int64_t output = int64_t{1} << 26;  // bytes of one string, and of the result
  int depth = 1000;                   // of expressions, statements and macros inside one another
  Deadline deadline = {};             // DeadlineError beyond it
};

class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits), left_(limits.steps) {}

  void spend(size_t steps) {
    if (steps > static_cast<size_t>(left_))
      throw Failure(concat("the template takes more than ", limits_.steps, " steps"));
    left_ -= static_cast<int64_t>(steps);
    if (++spent_ % 1024 == 0) limits_.deadline.check();
  }
  void check_size(size_t bytes) const {
    if (bytes > static_cast<size_t>(limits_.output))
      throw Failure(concat("the template makes a text of more than ", limits_.output, " bytes"));
  }
  // Before a string of so many bytes is made.
  void spend_bytes(size_t bytes) {
    check_size(bytes);
    spend(1 + bytes / 64);
  }
  // Before `count` copies of something with so many bytes or items.
  static size_t product(size_t size, size_t count) {
    constexpr size_t kHuge = size_t{1} << 62;
    return size != 0 && count > kHuge / size ? kHuge : size * count;
  }
  void enter() {
    if (++depth_ > limits_.depth)
      throw Failure(concat("more than ", limits_.depth,
                           " expressions and macros inside one another: does one call itself?"));
  }
  void leave() { --depth_; }

 private:
  Limits limits_;
  int64_t left_;
  uint64_t spent_ = 0;  // times
  int depth_ = 0;
};

}  // namespace bitsmith::jinja
