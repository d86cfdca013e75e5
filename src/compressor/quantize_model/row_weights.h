// Row weights that make the error of a row relative to its size.
#pragma once
#include <string>

#include "architecture/model_plan.h"
#include "compressor/torch.h"

namespace bitsmith {

// For the matrix [out, in] of an attention's queries or keys: 1 / (mean square) of each row, scaled
// to a mean of one. Scores are products of two rows' outputs, so that a row's error counts by its
// share of the row. Rows of values in the same matrix (QKV in one) are weighted alike, by their
// mean. Undefined for every other matrix.
torch::Tensor relative_row_weights(const AttentionPlan& attention, const std::string& module,
                                   const torch::Tensor& weight);

}  // namespace bitsmith
