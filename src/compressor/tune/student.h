// The student of a tuning run: a quantized decoder and what the optimizer changes in it.
#pragma once
#include <memory>

#include "compressor/train/tuned_blocks.h"

namespace bitsmith {

// What learns beside the quantized linears of the blocks.
struct TrainedParts {
  TrainedVectors vectors;
  bool embedding = true, head = true;  // where the decoder holds their representations; a tied head
                                       // is the embedding
};

class Student : public TunedBlocks {
 public:
  // Trains every linear of the blocks that holds a representation, and `parts`. The rules' steps
  // are in units of the distance to the teacher. `memory`: where Adam's moments lie; it and
  // `communicator` outlive this. Throws Error when nothing in the decoder is quantized.
  Student(std::unique_ptr<Decoder> decoder, Decoder& teacher, const CodeRuleFactory& rule,
          TrainedParts parts = {}, StateMemory& memory = StateMemory::plain(),
          Communicator& communicator = Communicator::alone());
  Decoder& decoder() { return *decoder_; }

 private:
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace bitsmith
