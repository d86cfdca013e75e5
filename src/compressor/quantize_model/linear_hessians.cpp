#include "compressor/quantize_model/linear_hessians.h"

#include <optional>
#include <vector>

#include "base/error.h"
#include "compressor/model/dense_tensor.h"
#include "compressor/objective/hessian_sum.h"
#include "compressor/quantize_model/block_stream.h"

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
  for (int64_t block_index = 0; block_index < files->config().num_hidden_layers; ++block_index) {
    for (const LinearShape& linear : block_linears(files->config(), block_index)) {
      if (modules.contains(linear.name)) blocks = block_index + 1;
    }
  }
  ReportedTask task(context, "hessian");
  const RotaryTable rotary = decoder->rotary(windows.size(1));
  BlockStream stream(*decoder, rotary,
                     torch::embedding(read_matrix(*files, "model.embed_tokens", dtype), windows));
  for (int64_t block_index = 0; block_index < blocks; ++block_index) {
    const auto block = decoder->load_block(block_index);
    for (const InputSite site : kSites) {
      std::vector<const Linear*> linears;
      for (const Linear* linear : block->site_linears(site)) {
        if (modules.contains(linear->name)) linears.push_back(linear);
      }
      std::optional<HessianSum> sum;
      if (!linears.empty()) sum.emplace(linears[0]->in_features);
      const auto report = [&](double share) {
        if (context.cancelled())
          throw Interrupted(concat("stopped in block ", block_index + 1, " of ", blocks,
                                   "; the files of blocks before it are whole, and the same "
                                   "command begins anew"));
        const double inside = (static_cast<double>(site) + share) / kInputSites;
        task.update((static_cast<double>(block_index) + inside) / static_cast<double>(blocks),
                    concat("block ", block_index + 1, "/", blocks));
      };
      each_window_chunk(stream.inputs(), kTokensAtOnce, report, [&](int64_t first, int64_t count) {
        const auto inputs = stream.site_inputs(*block, site, first, count,
                                               /*keep_outputs=*/block_index + 1 < blocks);
        if (sum) sum->add(inputs);
      });
      for (const Linear* linear : linears) use(*linear, sum->hessian());
    }
    if (block_index + 1 < blocks) stream.take_outputs();
  }
}

}  // namespace bitsmith
