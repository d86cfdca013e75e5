#include "compressor/quantize_model/quantization_resources.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "compressor/quantize_model/block_share.h"

namespace bitsmith {
namespace {

std::string bytes_text(uint64_t n) { return format_bytes(static_cast<double>(n)); }

// Bytes still to be written.
uint64_t disk_to_write(const QuantizationPlan& plan, const WorkFolder& work) {
  const uint64_t there = work.bytes();
  return plan.disk_bytes > there ? plan.disk_bytes - there : 0;
}

// What a rank has in memory of the calibration text: its share of it, but all for the gradients.
int64_t tokens_of_rank(int64_t tokens, int64_t length, const QuantizeModelOptions& options,
                       const Communicator& ranks) {
  if (tokens == 0 || options.uses_gradients()) return tokens;
  int64_t most = 0;
  for (int rank = 0; rank < ranks.size(); ++rank)
    most = std::max(
        most, share_of_windows(tokens / length, length, options.batch_tokens, rank, ranks.size())
                  .count());
  return most * length;
}

// Hessians of a rank's matrices, which wait for the end of their block's forward passes.
int64_t waiting_bytes(const QuantizationPlan& plan, const ModelPlan& model,
                      const QuantizeModelOptions& options, int ranks) {
  if (ranks == 1 || options.sequential()) return 0;
  int64_t most = 0;
  for (const BlockPlan& block : model.blocks) {
    int64_t all = 0, largest = 0;
    for (const LinearPlan* linear : linears(block)) {
      if (!plan.find(linear->name)) continue;
      const int64_t own = 4 * options.guided_groups * linear->in_features * linear->in_features;
      all += own;
      largest = std::max(largest, own);
    }
    most = std::max(most, all / ranks + largest);
  }
  return most;
}

// Of the processes on this machine together.
uint64_t memory_needed(const QuantizationPlan& plan, const Communicator& ranks) {
  return plan.memory_bytes * static_cast<uint64_t>(ranks.local_size());
}

}  // namespace

void check_resources(QuantizationPlan& plan, const ModelPlan& model,
                     const QuantizeModelOptions& options, const WorkFolder& work, int64_t tokens,
                     int64_t length, const BlockFinetuner& finetune, Communicator& ranks) {
  estimate_resources(plan, model, tokens_of_rank(tokens, length, options, ranks), length, options,
                     finetune);
  if (tokens > 0)
    plan.memory_bytes += static_cast<uint64_t>(waiting_bytes(plan, model, options, ranks.size()));
  check_together(ranks, [&] {
    if (ranks.first()) {
      const uint64_t disk = disk_to_write(plan, work), free_disk = free_disk_bytes(work.path());
      if (disk > free_disk) {
        throw Error(concat("not enough disk for ", work.path().string(), ": about ",
                           bytes_text(disk), " are needed and ", bytes_text(free_disk),
                           " are free"));
      }
    }
    const uint64_t memory = memory_needed(plan, ranks), free_memory = available_memory_bytes();
    if (memory > free_memory) {
      throw Error(concat("not enough memory: about ", bytes_text(memory), " are needed and ",
                         bytes_text(free_memory),
                         " are free; fewer calibration tokens or bfloat16 activations need less"));
    }
  });
}

void announce(const QuantizationPlan& plan, const WorkFolder& work, double seconds,
              const Communicator& ranks) {
  log_info(concat("quantizing ", plan.matrices.size(), " matrices of ", plan.blocks,
                  " blocks takes about ", format_duration(seconds / ranks.size()), ", ",
                  bytes_text(memory_needed(plan, ranks)), " of memory (",
                  bytes_text(available_memory_bytes()), " free) and ",
                  bytes_text(disk_to_write(plan, work)), " of disk (",
                  bytes_text(free_disk_bytes(work.path())), " free)"));
}

void check_resources(const ModelFiles& files, const QuantizeModelOptions& options,
                     const WorkFolder& work, int64_t tokens, int64_t length,
                     const BlockFinetuner& finetune, Communicator& communicator) {
  QuantizationPlan plan = plan_quantization(files, options);
  check_resources(plan, files.plan(), options, work, tokens, length, finetune, communicator);
}

}  // namespace bitsmith
