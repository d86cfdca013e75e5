// The student of a tuning run: a quantized decoder and what the optimizer changes in it.
#pragma once
#include <memory>

#include "compressor/train/tuned_blocks.h"

namespace bitsmith {

class Student : public TunedBlocks {
 public:
  // Trains every linear that holds a representation: those of the blocks, and embedding and head
  // where the decoder was loaded with theirs. The rules' steps are in units of the distance to the
  // teacher. `memory`: where Adam's moments lie; outlives this. Throws Error when nothing in the
  // decoder is quantized.
  Student(std::unique_ptr<Decoder> decoder, Decoder& teacher, const CodeRuleFactory& rule,
          StateMemory& memory = StateMemory::plain());
  Decoder& decoder() { return *decoder_; }

 private:
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace bitsmith
