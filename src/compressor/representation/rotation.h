// The transform around a sum of terms (format/kinds/hadamard.h): W = R_out^T V R_in, where V is the
// sum, in code space, and R = Hadamard blocks times signs. Both R are orthogonal, so distances and
// norms are the same in either space. Not where signs are real and no longer +1 and -1: errors and
// gradients are carried exactly then too, but a row of W weighs its squared sign in code space,
// which searches leave out.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "compressor/representation/term.h"
#include "compressor/torch.h"
#include "format/quantized_tensor.h"

namespace bitsmith {

// Constant but for the values of real signs; const calls may run at the same time.
class Rotation {
 public:
  // Signs that depend on the seed and on the sizes alone, so that linears that share their inputs
  // share a rotation. `spec` is resolved.
  Rotation(const TransformSpec& spec, int64_t out_features, int64_t in_features, uint64_t seed);
  // As the file has it.
  explicit Rotation(const QuantizedTensor& tensor);

  const TransformSpec& spec() const { return spec_; }
  // V -> W, [out, in] float32, differentiable, in real signs too; the values of the reference
  // decode.
  torch::Tensor to_weights(const torch::Tensor& rotated) const;
  // W -> V, the inverse: of weights and targets. A sign of zero gives zeros.
  torch::Tensor to_code_space(const torch::Tensor& weights) const;
  // Of the gradient with respect to W, that with respect to V: the transpose, which is the inverse
  // where signs are +1 and -1.
  torch::Tensor gradient_to_code_space(const torch::Tensor& gradient) const;
  // The objective that costs an error in code space what `objective` costs it in W.
  Objective to_code_space(const Objective& objective) const;
  // R_in x and R_out y along the last dimension, for inputs and outputs and what is summed of them;
  // unchanged where that side is not rotated. float32 or float64.
  torch::Tensor rotate_inputs(const torch::Tensor& x) const;
  torch::Tensor rotate_outputs(const torch::Tensor& y) const;
  // Real signs, none else; and their projection onto what the file stores.
  std::vector<ContinuousParameter> continuous_parameters() const;
  void project();
  // Writes its parts.
  void store(const QuantizedTensor& tensor) const;

 private:
  void want_gradients();

  TransformSpec spec_;
  torch::Tensor input_signs_, output_signs_;  // [in], [out] float32; empty: not rotated
};

// Blocks of `block` along the last dimension times the Hadamard matrix / sqrt(block), as plain
// tensor operations: for other devices and types, and what tests compare with.
torch::Tensor hadamard_reference(const torch::Tensor& x, int64_t block);

}  // namespace bitsmith
