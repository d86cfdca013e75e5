#include "compressor/quantize_model/linear_hessians.h"

#include <optional>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "compressor/model/dense_tensor.h"
#include "compressor/objective/hessian_sum.h"
#include "compressor/quantize_model/block_stream.h"
#include "compressor/quantize_model/expert_tokens.h"

namespace bitsmith {

void each_linear_hessian(
    const std::shared_ptr<const ModelFiles>& files, const torch::Tensor& windows,
    torch::Dtype dtype, const std::set<std::string>& modules,
    const std::function<void(const Linear&, const torch::Tensor& hessian)>& use,
    const RunContext& context) {
  const torch::NoGradGuard no_grad;
  constexpr int64_t kTokensAtOnce = 4096;
  const auto decoder = Decoder::open(files, dtype);
  int64_t blocks = 0;
  for (int64_t block_index = 0; block_index < files->plan().num_blocks(); ++block_index) {
    const BlockPlan& block = files->plan().blocks[static_cast<size_t>(block_index)];
    for (const LinearPlan* linear : linears(block)) {
      if (modules.contains(linear->name)) blocks = block_index + 1;
    }
  }
  ReportedTask task(context, "hessian");
  const RotaryTables rotary = decoder->rotary(windows.size(1));
  BlockStream stream(
      *decoder, rotary,
      decoder->embed_with(read_matrix(*files, files->plan().embedding.name, dtype), windows));
  for (int64_t block_index = 0; block_index < blocks; ++block_index) {
    const auto block = decoder->load_block(block_index);
    std::vector<int64_t> expert_tokens;
    ExpertTokens few, few_wanted;
    for (size_t site = 0; site < block->sites.size(); ++site) {
      std::vector<const Linear*> wanted;
      for (const Linear* linear : block->site_linears(site)) {
        if (modules.contains(linear->name)) wanted.push_back(linear);
      }
      std::optional<HessianSum> sum;
      if (!wanted.empty()) sum.emplace(wanted[0]->in_features);
      const auto report = [&](double share) {
        if (context.cancelled())
          throw Interrupted(concat("stopped in block ", block_index + 1, " of ", blocks,
                                   "; the files of blocks before it are whole, and the same "
                                   "command begins anew"));
        const double inside =
            (static_cast<double>(site) + share) / static_cast<double>(block->sites.size());
        task.update((static_cast<double>(block_index) + inside) / static_cast<double>(blocks),
                    concat("block ", block_index + 1, "/", blocks));
      };
      const int64_t expert = block->sites[site].expert;
      if (expert >= 0 && expert_tokens.empty()) {
        expert_tokens = stream.route_tokens(*block, kTokensAtOnce, report);
        few = experts_with_few_tokens(*block, expert_tokens);
      }
      const bool all_tokens = few.contains(expert);
      if (all_tokens && !wanted.empty()) few_wanted[expert] = few[expert];
      each_window_chunk(stream.inputs(), kTokensAtOnce, report, [&](int64_t first, int64_t count) {
        const auto inputs = stream.site_inputs(
            *block, site, first, count, stream.tokens_of(*block, site, first, count, all_tokens),
            /*keep_outputs=*/block_index + 1 < blocks);
        if (sum) sum->add(inputs);
      });
      for (const Linear* linear : wanted) use(*linear, sum->hessian());
    }
    if (!few_wanted.empty())
      log_warning(few_tokens_message(block_index, few_wanted, windows.numel()));
    if (block_index + 1 < blocks) stream.take_outputs();
  }
}

}  // namespace bitsmith
