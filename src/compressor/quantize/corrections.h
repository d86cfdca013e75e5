// How terms without codes are fitted to what the codes leave, and sums of terms as a whole.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "compressor/quantize/quantizer.h"
#include "compressor/torch.h"

namespace bitsmith {

// A fitted term, projected.
struct FittedCorrection {
  std::unique_ptr<Term> term;
  // [out, in] float32: what the term with codes need not hold when it is made anew. Low rank: the
  // term itself. Outliers, rows: the whole weights at their places, so that codes see zeros there.
  torch::Tensor spared;
};

// `weight` [out, in]: what all terms together are to be, less what earlier corrections spare the
// codes; `residual`: what all terms so far leave.
// float32; the objective has no shift.

// Outliers: places by options.outliers, then the values with the least error at these places. Error
// for ADMM with a full output factor.
FittedCorrection fit_correction(const SparseSpec& spec, const torch::Tensor& weight,
                                const torch::Tensor& residual, const Objective& objective,
                                const QuantizeOptions& options);
// The best approximation of the residual in the objective's norm by a matrix of this rank (LoRC),
// by subspace iteration.
FittedCorrection fit_correction(const LowRankSpec& spec, const torch::Tensor& weight,
                                const torch::Tensor& residual, const Objective& objective,
                                const QuantizeOptions& options);
// Rows: options.kept_rows, then those whose error costs most; the values are the residual's own.
FittedCorrection fit_correction(const RowsSpec& spec, const torch::Tensor& weight,
                                const torch::Tensor& residual, const Objective& objective,
                                const QuantizeOptions& options);

// What keeps them from using a full output factor, see quantizer.h.
std::string output_factor_obstacle(const SparseSpec& spec, const QuantizeOptions& options);
inline std::string output_factor_obstacle(const LowRankSpec&, const QuantizeOptions&) { return ""; }
inline std::string output_factor_obstacle(const RowsSpec&, const QuantizeOptions&) { return ""; }

}  // namespace bitsmith
