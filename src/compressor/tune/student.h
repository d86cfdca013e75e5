// The student of a tuning run: a quantised decoder and what the optimiser changes in it.
#pragma once
#include <memory>

#include "compressor/tune/tuned_blocks.h"

namespace bitsmith {

class Student : public TunedBlocks {
 public:
  // `original`: the same model before it was quantised; code steps are in units of the distance to
  // it. Throws Error when nothing in the decoder is quantised.
  Student(std::unique_ptr<Decoder> decoder, Decoder& original);
  Decoder& decoder() { return *decoder_; }

 private:
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace bitsmith
