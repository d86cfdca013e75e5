// Whether special tokens that a text spells out are recognized: everywhere, nowhere, or only
// outside of the stretches that users wrote.
#pragma once
#include <algorithm>
#include <span>

#include "tokenizer/span.h"

namespace bitsmith {

class ParseSpecial {
 public:
  ParseSpecial(bool everywhere) : everywhere_(everywhere) {}
  // The stretches, in order and disjoint, live as long as this.
  static ParseSpecial outside_of(std::span<const Span> stretches) {
    ParseSpecial result(true);
    result.stretches_ = stretches;
    return result;
  }
  // The same for the text from this byte on.
  ParseSpecial from(size_t begin) const {
    ParseSpecial result = *this;
    result.begin_ += begin;
    return result;
  }
  // Of a token that the text spells out in these bytes.
  bool at(size_t begin, size_t end) const {
    begin += begin_;
    end += begin_;
    const auto next = std::ranges::partition_point(
        stretches_, [&](const Span& stretch) { return stretch.end <= begin; });
    return everywhere_ && (next == stretches_.end() || next->begin >= end);
  }

 private:
  bool everywhere_;
  size_t begin_ = 0;
  std::span<const Span> stretches_;
};

}  // namespace bitsmith
