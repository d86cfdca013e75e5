// The gradients of a model's outputs over all calibration windows, as a stage of the work: batches
// of windows, each kept in the work folder.
#pragma once
#include <memory>
#include <vector>

#include "base/run_context.h"
#include "compressor/quantize_model/moment_files.h"
#include "compressor/quantize_model/output_gradients.h"
#include "compressor/quantize_model/quantization_plan.h"
#include "format/work_folder.h"

namespace bitsmith {

// Windows whose blocks' inputs are held at one time. Together they take no more memory than the two
// streams of activations of all windows, which the walk over the blocks holds later; so a model is
// read about twice for every four of its blocks.
int64_t gradient_batch_windows(const ModelPlan& model, int64_t windows);

// All windows in their order. in_parts: no batch has windows of two parts; else all are of the
// first part, which then means nothing.
std::vector<MomentBatch> gradient_batches(const ModelPlan& model, int64_t windows, bool in_parts);

// Of the planned linears in the blocks. Finished batches lie in `work`,
// gradients-NNNNN.safetensors, and are not made again; the statistics are always those of the
// files. With the Kronecker objective their second moments come into MomentFiles too, which add up
// batch by batch: the first rank makes them; otherwise the ranks share the batches. Throws
// Interrupted, Error. Collective.
OutputGradients collect_output_gradients(const std::shared_ptr<const ModelFiles>& files,
                                         const torch::Tensor& windows, const QuantizationPlan& plan,
                                         const QuantizeModelOptions& options,
                                         const WorkFolder& work, const RunContext& context);

}  // namespace bitsmith
