// Stretches of a text, followed through a step that rewrites it: what a user wrote stays known as
// such where a normalizer changes bytes.
#pragma once
#include <utility>
#include <vector>

#include "tokenizer/span.h"

namespace bitsmith {

// The step tells from left to right what became of each part of its input. A stretch then holds
// all that was made of its bytes: of a part where it begins or ends inside of it, the whole.
class Stretches {
 public:
  // `spans`: in order and disjoint, in bytes of the input.
  explicit Stretches(const std::vector<Span>& spans) : old_(spans), new_(spans) {}

  // The input's next part, up to byte `in_end`, became the output's next part, up to `out_end`.
  void rewritten(size_t in_end, size_t out_end) {
    for (; begins_ < old_.size() && old_[begins_].begin < in_end; ++begins_)
      new_[begins_].begin = out_;
    for (; ends_ < old_.size() && old_[ends_].end <= in_end; ++ends_) new_[ends_].end = out_end;
    in_ = in_end;
    out_ = out_end;
  }
  // The same, where the bytes are the same.
  void copied(size_t in_end) {
    for (; begins_ < old_.size() && old_[begins_].begin < in_end; ++begins_)
      new_[begins_].begin = out_ + (old_[begins_].begin - in_);
    for (; ends_ < old_.size() && old_[ends_].end <= in_end; ++ends_)
      new_[ends_].end = out_ + (old_[ends_].end - in_);
    out_ += in_end - in_;
    in_ = in_end;
  }
  // In bytes of the output, once the whole input was told. In order; neighbors may overlap.
  std::vector<Span> in_output() && {
    for (; begins_ < old_.size(); ++begins_) new_[begins_].begin = out_;
    for (; ends_ < old_.size(); ++ends_) new_[ends_].end = out_;
    return std::move(new_);
  }

 private:
  const std::vector<Span>& old_;
  std::vector<Span> new_;
  size_t begins_ = 0, ends_ = 0;  // spans whose begins and ends were found
  size_t in_ = 0, out_ = 0;
};

}  // namespace bitsmith
