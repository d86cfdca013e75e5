// Which rows of a candidate are better than what is kept.
#pragma once
#include <numeric>

#include "compressor/objective/objective.h"

namespace bitsmith {

// The rows' shares of the cost of a matrix that changes in steps.
class RowErrors {
 public:
  // weight [out, in]; the objective has no shift.
  RowErrors(const torch::Tensor& weight, const Objective& objective)
      : weight_(weight), objective_(objective) {}

  // `dense` [out, in] is kept, whatever it costs.
  void keep(const torch::Tensor& dense) { rows_ = of(dense); }
  // The rows [out] (bool) in which `dense` costs less than what is kept; where rows meet all or
  // none. These are kept from now on. Rounding to what the file holds can undo a small gain.
  torch::Tensor keep_better(const torch::Tensor& dense) {
    const auto reached = of(dense);
    const auto better = objective_.joins_rows()
                            ? torch::full_like(reached, sum(reached) < total(), torch::kBool)
                            : reached < rows_;
    rows_ = torch::where(better, reached, rows_);
    return better;
  }
  // The cost of what is kept.
  double total() const { return sum(rows_); }

 private:
  torch::Tensor of(const torch::Tensor& dense) const {
    return objective_.row_errors(weight_ - dense, /*exact=*/false);
  }
  // In one order for any number of threads.
  static double sum(const torch::Tensor& rows) {
    const auto* first = rows.const_data_ptr<double>();
    return std::accumulate(first, first + rows.numel(), 0.0);
  }

  torch::Tensor weight_;
  Objective objective_;
  torch::Tensor rows_;  // [out] float64
};

}  // namespace bitsmith
