// What fine-tunes a quantized block while a model is quantized: handed in from above, since
// training builds on quantization and not the other way.
#pragma once
#include <functional>
#include <map>
#include <string>

#include "compressor/model/decoder.h"
#include "compressor/torch.h"

namespace bitsmith {

struct BlockFinetuneReport {
  double before = 0, after = 0;  // error of the block's outputs on windows held out
  int epochs = 0;
  double seconds = 0;
  std::map<std::string, torch::Tensor> dense;  // norms and biases as they now are, float32
};

struct QuantizationPlan;

struct BlockFinetuner {
  // Trains a block whose quantized linears hold representations, in place, so that its outputs for
  // inputs [windows, length, hidden] come near to targets, of the same shape. Leaves everything
  // projected. Empty: blocks are not trained.
  std::function<BlockFinetuneReport(const Decoder& decoder, Block& block,
                                    const torch::Tensor& inputs, const torch::Tensor& targets)>
      train;
  // About the bytes of memory that this takes at its peak, beside inputs and targets: of the
  // largest block, in windows of `length` tokens, passes in numbers of `element` bytes.
  std::function<int64_t(const QuantizationPlan& plan, const ModelPlan& model, int64_t length,
                        int64_t element)>
      memory_bytes;

  explicit operator bool() const { return static_cast<bool>(train); }
};

}  // namespace bitsmith
