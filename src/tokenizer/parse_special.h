// Whether special tokens that a text spells out are recognized: everywhere, nowhere, or only
// outside of the stretches that users wrote.
#pragma once
#include <algorithm>
#include <span>
#include <vector>

#include "tokenizer/span.h"

namespace bitsmith {

class ParseSpecial {
 public:
  ParseSpecial(bool everywhere) : everywhere_(everywhere) {}
  // The stretches, in order, live as long as this.
  static ParseSpecial outside_of(std::span<const Span> stretches) {
    ParseSpecial result(true);
    result.stretches_ = stretches;
    return result;
  }
  // The same of a text that was made of this one: there the stretches are others.
  ParseSpecial with(std::span<const Span> stretches) const {
    ParseSpecial result = outside_of(stretches);
    result.everywhere_ = everywhere_;
    return result;
  }
  // What of the stretches is in these bytes, counted from their beginning.
  std::vector<Span> stretches_in(size_t begin, size_t end) const {
    std::vector<Span> inside;
    for (auto next = first_behind(begin); next != stretches_.end() && next->begin < end; ++next)
      inside.push_back({std::max(next->begin, begin) - begin, std::min(next->end, end) - begin});
    return inside;
  }
  // Of a token that the text spells out in these bytes.
  bool at(size_t begin, size_t end) const {
    const auto next = first_behind(begin);
    return everywhere_ && (next == stretches_.end() || next->begin >= end);
  }

 private:
  // The first stretch that ends behind this byte.
  std::span<const Span>::iterator first_behind(size_t byte) const {
    return std::ranges::partition_point(stretches_,
                                        [&](const Span& stretch) { return stretch.end <= byte; });
  }

  bool everywhere_;
  std::span<const Span> stretches_;
};

}  // namespace bitsmith
