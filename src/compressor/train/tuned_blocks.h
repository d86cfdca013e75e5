// Quantized blocks under training: their linears carry a dense copy of their weights for
// forward and backward passes, beside everything that the optimizer changes.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "compressor/model/decoder.h"
#include "compressor/train/adam.h"
#include "compressor/train/code_rule.h"

namespace bitsmith {

// One continuous tensor under Adam.
struct Trainable {
  std::string name;     // as in the file: "model.layers.0.mlp.up_proj.codebooks"
  torch::Tensor value;  // float32 master
  // Of norms and biases: the block's own leaf, in the compute dtype. Else undefined.
  torch::Tensor live;
  AdamState adam;
  double unit = 1;  // root mean square of the value at the start: the step's unit
  // Of norms and biases: float32, summed over the micro-batches of a step; undefined where the
  // loss does not depend on them.
  torch::Tensor gradient = {};
};

// One quantized linear.
struct TunedLinear {
  Linear* linear = nullptr;
  torch::Tensor gradient;             // [out, in] float32, summed over the micro-batches of a step
  std::vector<Trainable> continuous;  // of the representation
  std::unique_ptr<CodeRule> rule;     // null: codes stay
  Representation& representation() const { return *linear->representation; }
  // The gradient in what the term with codes gives: where rules keep their state and search.
  torch::Tensor code_gradient() const { return representation().to_code_space(gradient); }
  // The dense copy as codes and continuous parameters now give it.
  void refresh() const;
};

// Which vectors of a block learn beside its matrices: weights of norms, biases of norms and
// linears.
struct TrainedVectors {
  bool norms = true, biases = true;
};

class TunedBlocks {
 public:
  // `memory`: where moments lie; outlives this.
  explicit TunedBlocks(StateMemory& memory = StateMemory::plain()) : memory_(memory) {}

  // Adds a block of `decoder`, both of which must outlive this: every quantized linear gets its
  // dense copy in the decoder's dtype, as a leaf that wants a gradient, and so do `vectors`, whose
  // masters are read from the decoder's files in float32.
  void add(Block& block, const Decoder& decoder, TrainedVectors vectors = {});
  // One linear alone; it must be quantized.
  TunedLinear& add(Linear& linear, torch::Dtype dtype);

  std::vector<TunedLinear>& linears() { return linears_; }
  std::vector<Trainable>& norms() { return norms_; }  // and biases

  // Adds the gradients of one backward pass to those that are kept, in float32, and clears them.
  // Those of dense copies are added and cleared one by one while that pass runs, so that they never
  // exist together; what is left is those that no pass made, such as a head's.
  void collect_gradients();
  void clear_gradients();
  // Of all that was collected, dense weights, norms and biases: the root of the sum of squares.
  double gradient_norm() const;
  void scale_gradients(double factor);
  // Dense copies and live norms as the next training pass is to see them.
  void refresh();

  // Codes, continuous parameters, norms and biases: what the file will hold, unrounded.
  void visit_values(const StateVisitor& visitor);
  // All that a step reads and changes: the values, Adam's moments, the rules' state.
  void visit_state(const StateVisitor& visitor);
  // For a visitor that begins a state.
  torch::Tensor new_state(at::IntArrayRef shape, torch::Dtype dtype) {
    return memory_.zeros(shape, dtype);
  }

  // Bytes that training holds of the matrices: sums of gradients, dense copies, codes, continuous
  // parameters, and the optimizer's state, wherever it lies.
  uint64_t matrix_bytes();

  // Copies of the values, to put aside and back; and of those alone that a projection changes, all
  // but codes.
  std::map<std::string, torch::Tensor> save_values();
  std::map<std::string, torch::Tensor> save_parameters();
  // Those that are in `values`.
  void restore_values(const std::map<std::string, torch::Tensor>& values);
  // Rounds everything to what the file stores; dense copies and live norms follow.
  void project();

 private:
  // Continuous parameters, norms and biases.
  void visit_parameters(const StateVisitor& visitor);

  std::vector<TunedLinear> linears_;
  std::vector<Trainable> norms_;
  StateMemory& memory_;
};

}  // namespace bitsmith
