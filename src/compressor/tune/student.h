// The student of a tuning run: a quantized decoder and what the optimizer changes in it.
#pragma once
#include <memory>

#include "compressor/train/tuned_blocks.h"

namespace bitsmith {

class Student : public TunedBlocks {
 public:
  // `original`: the same model before it was quantized; the rules' steps are in units of the
  // distance to it. Throws Error when nothing in the decoder is quantized.
  Student(std::unique_ptr<Decoder> decoder, Decoder& original, const CodeRuleFactory& rule);
  Decoder& decoder() { return *decoder_; }

 private:
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace bitsmith
