// outP%: values at places of their own. The places are data; the values are continuous.
#pragma once
#include <vector>

#include "compressor/representation/term.h"

namespace bitsmith {

class SparseTerm : public Term {
 public:
  // places [n] int64, flat indices into [out, in], ascending; values [n] float32.
  SparseTerm(const torch::Tensor& places, const torch::Tensor& values, int64_t out_features,
             int64_t in_features);

  torch::Tensor dequantize() const override;
  std::vector<ContinuousParameter> continuous_parameters() const override {
    return {{"outlier_values", values_}};
  }
  void project() override;
  void store(const QuantizedTensor& tensor) const override;

 private:
  torch::Tensor places_, values_;
};

}  // namespace bitsmith
