// Matrices of a model with the Hessians of their inputs, for work on one of them at a time.
#pragma once
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "base/run_context.h"
#include "compressor/calibration/token_dataset.h"
#include "compressor/model/decoder.h"

namespace bitsmith {

// Runs `windows` [n, length] int64 through the model as it is, block by block, and calls `use` with
// each linear of the blocks that `modules` names and its Hessian [in, in] (hessian_sum.h);
// blocks after the last wanted one do not run. Throws Interrupted.
void each_linear_hessian(
    const std::shared_ptr<const ModelFiles>& files, const torch::Tensor& windows,
    torch::Dtype dtype, const std::set<std::string>& modules,
    const std::function<void(const Linear&, const torch::Tensor& hessian)>& use,
    const RunContext& context);

}  // namespace bitsmith
