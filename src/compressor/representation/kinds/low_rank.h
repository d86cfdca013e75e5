// lrK: left [out, K] times right [K, in].
#pragma once
#include <vector>

#include "compressor/representation/term.h"

namespace bitsmith {

class LowRankTerm : public Term {
 public:
  LowRankTerm(const torch::Tensor& left, const torch::Tensor& right);

  torch::Tensor dequantize() const override;
  std::vector<ContinuousParameter> continuous_parameters() const override {
    return {{"low_rank_left", left_}, {"low_rank_right", right_}};
  }
  void project() override;
  void store(const QuantizedTensor& tensor) const override;

 private:
  torch::Tensor left_, right_;
};

}  // namespace bitsmith
