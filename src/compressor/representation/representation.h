// The first of the two interfaces that everything hangs on: a quantized weight matrix W
// [out_features, in_features], the sum of a term with codes and of terms that correct it, as it is
// or inside a rotation. Codes, terms and whatever is fitted to them live in code space, which is
// the space of the weights where there is no rotation. One-shot quantizers, PV-Tuning, saving and
// evaluation are written against this and term.h; only a kind's own files know which kind it is.
#pragma once
#include <memory>
#include <vector>

#include "compressor/representation/rotation.h"
#include "compressor/representation/term.h"

namespace bitsmith {

// Not thread-safe; const calls may run at the same time.
class Representation {
 public:
  // Terms of one shape.
  explicit Representation(std::unique_ptr<CodedTerm> coded,
                          std::vector<std::unique_ptr<Term>> corrections = {},
                          std::shared_ptr<Rotation> rotation = nullptr);

  RepresentationSpec spec() const;
  int64_t out_features() const { return coded_->out_features(); }
  int64_t in_features() const { return coded_->in_features(); }
  CodedTerm& coded() { return *coded_; }
  const CodedTerm& coded() const { return *coded_; }

  // The weights, dense float32, differentiable with respect to continuous_parameters().
  torch::Tensor dequantize() const;
  // Weights, or targets for them, [out, in] -> code space.
  torch::Tensor to_code_space(const torch::Tensor& weights) const;
  // Gradients with respect to the weights -> with respect to the sum.
  torch::Tensor gradient_to_code_space(const torch::Tensor& gradient) const;
  // The objective of an error there.
  Objective to_code_space(const Objective& objective) const;
  // x [..., in] -> [..., out] in x's dtype.
  torch::Tensor forward(const torch::Tensor& x) const;

  // Of all terms, and of the rotation; names differ.
  std::vector<ContinuousParameter> continuous_parameters() const;
  void project();

  // Every bit that the file will hold.
  double bits() const;
  // What the file holds, exactly dequantize() after project().
  QuantizedTensor to_format() const;

 private:
  std::unique_ptr<CodedTerm> coded_;
  std::vector<std::unique_ptr<Term>> corrections_;
  std::shared_ptr<Rotation> rotation_;  // null: none
};

std::unique_ptr<Representation> representation_from_format(const QuantizedTensor& tensor);

}  // namespace bitsmith
