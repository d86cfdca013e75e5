// The sums over a linear's inputs that its objective is made of, where it is asked for with the two
// halves of the calibration text kept apart.
#pragma once
#include <optional>
#include <vector>

#include "compressor/objective/hessian_sum.h"
#include "compressor/torch.h"

namespace bitsmith {

// C H^-1 [in, in] (input_drift()); all undefined without a cross sum.
struct InputDrift {
  torch::Tensor whole;
  torch::Tensor first, second;  // of each half's C and the whole H; undefined without halves
};

class InputSums {
 public:
  InputSums(int64_t in_features, bool with_cross, bool in_halves);
  // x [..., in]; with a cross sum what the original model has in its place, else undefined; weights
  // of tokens [...] (hessian_sum.h), undefined: 1. The first `in_first_half` tokens belong to the
  // first half, which is read only where halves are kept apart.
  void add(const torch::Tensor& x, const torch::Tensor& original, const torch::Tensor& weights,
           int64_t in_first_half);
  // All that the ranks have added, on each of them. Collective.
  void merge_ranks(Communicator& communicator);
  // [in, in] float32, of all that was added.
  torch::Tensor hessian() const;
  // By how much its halves say that it should be moved towards its diagonal (half_noise.h). Needs
  // halves.
  double shrinkage() const;
  // `hessian`: this one's, as it will be used. The sums are given up on the way.
  InputDrift drift(const torch::Tensor& hessian, double damping) &&;

 private:
  struct Part {
    HessianSum hessian;
    std::optional<CrossSum> cross;
  };
  // Of the matrices that both parts' sums make, in the place of the second.
  torch::Tensor mean(const torch::Tensor& first, torch::Tensor second) const;

  int64_t in_features_;
  std::vector<Part> parts_;  // one, or the halves
};

}  // namespace bitsmith
