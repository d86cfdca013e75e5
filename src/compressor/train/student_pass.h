// A student's way from tokens to final hidden states and back.
#pragma once
#include <vector>

#include "compressor/model/decoder.h"

namespace bitsmith {

// What a forward pass keeps for the backward pass: every activation that it needs, or the inputs of
// the blocks alone, of which each block is run again on the way back (gradient checkpointing, Chen
// et al. 2016). The second takes one more forward pass, and gives the same gradients to the bit.
enum class KeptActivations { kAll, kBlockInputs };

class StudentPass {
 public:
  // ids [batch, length] int64. `student` outlives this, and has the same weights at backward().
  StudentPass(Decoder& student, const torch::Tensor& ids, KeptActivations kept);

  // Final hidden states [batch * length, hidden], without a graph.
  torch::Tensor hidden() const { return hidden_.detach(); }
  // Leaves the gradients at the student's leaves, `gradient` being that of hidden(). Once.
  void backward(const torch::Tensor& gradient);

 private:
  Decoder& student_;
  torch::Tensor hidden_;  // with the graph from last_, or from the embedding
  // Of kBlockInputs:
  RotaryTables rotary_;
  torch::Tensor embedded_;             // with its graph
  std::vector<torch::Tensor> inputs_;  // of each block, [batch, length, hidden]
  torch::Tensor last_;                 // the last block's outputs, a leaf
};

}  // namespace bitsmith
