// rowsN: values of whole rows. Which rows is data; the values are continuous.
#pragma once
#include <vector>

#include "compressor/representation/term.h"

namespace bitsmith {

class RowsTerm : public Term {
 public:
  // rows [n] int64, ascending; values [n, in] float32.
  RowsTerm(const torch::Tensor& rows, const torch::Tensor& values, int64_t out_features);

  torch::Tensor dequantize() const override;
  std::vector<ContinuousParameter> continuous_parameters() const override {
    return {{"kept_values", values_}};
  }
  void project() override;
  void store(const QuantizedTensor& tensor) const override;

 private:
  torch::Tensor rows_, values_;
};

}  // namespace bitsmith
