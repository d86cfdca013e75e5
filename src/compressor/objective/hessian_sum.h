// Sums over the inputs that a linear gets: what an objective is made of.
#pragma once
#include <span>

#include "base/communicator.h"
#include "compressor/torch.h"

namespace bitsmith {

// The Hessian of a linear's squared output error with respect to a row of its weights: 2/n sum x
// x^T over the n inputs seen (Frantar et al. 2022), with weights of tokens 2/(sum w) sum w x x^T.
// Inputs shared by several matrices (q, k and v) share one. Over gradients of outputs in place of
// inputs it is a full output factor (objective.h). Not thread-safe.
class HessianSum {
 public:
  explicit HessianSum(int64_t in_features);
  // x [..., in], any float dtype; weights [...], one a token, undefined: 1. Error for a weight that
  // is negative or not finite.
  void add(const torch::Tensor& x, const torch::Tensor& weights = {});
  // Adds what another sum has seen: the sum over both their inputs, up to float64 rounding.
  void merge(const HessianSum& other);
  // The same with those of all other ranks. The numbers that are added have float32's 24 bits, the
  // sums float64's 53: what is over is room for the order of adding not to show, unless most of a
  // number cancels. Collective.
  void merge_ranks(Communicator& communicator);
  // [in, in] float32; zeros when nothing was seen.
  torch::Tensor hessian() const;
  double weight() const { return weight_; }  // of all tokens, sum w
  // Gives up all but weight().
  void release() { sum_.reset(); }

 private:
  torch::Tensor sum_;  // float64: thousands of float32 products are added; the upper triangle
  double weight_ = 0;
};

// The mean 2/n sum (original - x) x^T, where x are the inputs that a linear gets in the quantized
// model, and `original` those that it got in the original. Weights, merges: as above.
class CrossSum {
 public:
  explicit CrossSum(int64_t in_features);
  void add(const torch::Tensor& original, const torch::Tensor& x,
           const torch::Tensor& weights = {});
  void merge(const CrossSum& other);
  void merge_ranks(Communicator& communicator);
  torch::Tensor cross() const;  // [in, in] float32

 private:
  torch::Tensor sum_;  // float64
  double weight_ = 0;
};

// C H^-1 [in, in], C the cross sum: what the original's inputs differ by, as a linear map of the
// quantized model's. The weights W + W C H^-1 give, on the quantized model's inputs, the least
// squares approximation of the outputs that the original gives on its own (GPTAQ, Li et al. 2025;
// QEP, Arai & Ichikawa 2025). tr((T-Q) H (T-Q)^T) of that target T is the error against the
// original's outputs, up to what no Q can change. H is damped as in inverse_factor().
torch::Tensor input_drift(const torch::Tensor& hessian, const torch::Tensor& cross, double damping);
// The same of several, each in the place of its cross sum; H is factored once.
void make_input_drifts_(const torch::Tensor& hessian, double damping,
                        std::span<torch::Tensor> crosses);

}  // namespace bitsmith
