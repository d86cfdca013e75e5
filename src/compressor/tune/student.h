// The student of a tuning run: a quantised decoder and what the optimiser changes in it.
#pragma once
#include <memory>

#include "compressor/tune/tuned_blocks.h"

namespace bitsmith {

class Student : public TunedBlocks {
 public:
  // Throws Error when nothing in it is quantised.
  explicit Student(std::unique_ptr<Decoder> decoder);
  Decoder& decoder() { return *decoder_; }

 private:
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace bitsmith
