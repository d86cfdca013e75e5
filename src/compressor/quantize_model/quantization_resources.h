// Whether a machine has what quantizing a model takes, and what its user is told of it.
#pragma once
#include <cstdint>

#include "base/communicator.h"
#include "compressor/quantize_model/quantization_plan.h"
#include "format/work_folder.h"

namespace bitsmith {

// Fills the plan's estimates for `tokens` tokens in windows of `length`, which the ranks share, and
// throws Error where memory for the processes of this machine, or disk, are not enough: on all
// ranks, where it is so on one. Once a plan. Collective.
void check_resources(QuantizationPlan& plan, const ModelPlan& model,
                     const QuantizeModelOptions& options, const WorkFolder& work, int64_t tokens,
                     int64_t length, const BlockFinetuner& finetune, Communicator& communicator);

// Logs what a plan with these estimates takes; `seconds`: of one process.
void announce(const QuantizationPlan& plan, const WorkFolder& work, double seconds,
              const Communicator& communicator);

}  // namespace bitsmith
