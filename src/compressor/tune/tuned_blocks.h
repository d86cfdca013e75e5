// Quantized blocks under training: their linear layers carry a dense copy of their weights for
// forward and backward passes, beside everything that the optimizer changes.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "compressor/model/decoder.h"
#include "compressor/tune/adam.h"

namespace bitsmith {

// One continuous tensor under Adam.
struct Trainable {
  std::string name;     // as in the file: "model.layers.0.mlp.up_proj.codebooks"
  torch::Tensor value;  // float32 master
  torch::Tensor
      live;  // norms and biases: the block's own leaf, in the compute dtype; else undefined
  AdamState adam;
  double unit = 1;  // root mean square of the value at the start: the step's unit
};

// One quantized linear layer.
struct TunedLinear {
  Linear* linear = nullptr;
  torch::Tensor gradient;             // [out, in] float32, summed over the micro-batches of a step
  AdamState code_moments;             // bfloat16; only for strategies that change codes
  std::vector<Trainable> continuous;  // of the representation
  double code_unit = 0;  // root mean square distance to the original weights at the start
  Representation& representation() { return *linear->representation; }
};

class TunedBlocks {
 public:
  // Adds block number `layer` of the model, which must outlive this: every quantized linear layer
  // gets its dense copy in `dtype`, as a leaf that wants a gradient, and so do norms and biases.
  void add(Block& block, int64_t layer, torch::Dtype dtype);

  std::vector<TunedLinear>& linears() { return linears_; }
  std::vector<Trainable>& norms() { return norms_; }  // and biases

  // Adds the dense weights' gradients of one backward pass and clears them.
  void collect_gradients();
  void clear_gradients();
  // Dense copies and live norms from the masters.
  void refresh();

  // The continuous masters and the codes, to put aside and back around a projection.
  std::map<std::string, torch::Tensor> save_values();
  void restore_values(const std::map<std::string, torch::Tensor>& values);
  // Rounds everything to what the file stores.
  void project();

 private:
  std::vector<TunedLinear> linears_;
  std::vector<Trainable> norms_;
};

}  // namespace bitsmith
