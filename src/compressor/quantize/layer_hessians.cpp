#include "compressor/quantize/layer_hessians.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "compressor/model/dense_tensor.h"
#include "compressor/quantize/block_stream.h"
#include "compressor/quantize/hessian.h"

namespace bitsmith {

void each_layer_hessian(const std::shared_ptr<const ModelFiles>& files,
                        const torch::Tensor& windows, torch::Dtype dtype,
                        const std::function<bool(const std::string&)>& wanted,
                        const std::function<void(const Linear&, const torch::Tensor& hessian)>& use,
                        const std::function<void(double, const std::string&)>& progress) {
  const torch::NoGradGuard no_grad;
  constexpr int64_t kTokensAtOnce = 4096;
  const auto decoder = Decoder::open(files, dtype);
  int64_t blocks = 0;
  for (int64_t layer = 0; layer < files->config().num_hidden_layers; ++layer) {
    for (const LinearShape& linear : block_linears(files->config(), layer)) {
      if (wanted(linear.name)) blocks = layer + 1;
    }
  }
  const int64_t count = windows.size(0), length = windows.size(1);
  const int64_t at_once = std::max<int64_t>(1, kTokensAtOnce / length);
  const RotaryTable rotary = decoder->rotary(length);
  BlockStream stream(*decoder, rotary,
                     torch::embedding(read_matrix(*files, "model.embed_tokens", dtype), windows));
  for (int64_t layer = 0; layer < blocks; ++layer) {
    const auto block = decoder->load_block(layer);
    for (int s = 0; s < kInputSites; ++s) {
      const auto site = static_cast<InputSite>(s);
      std::vector<const Linear*> linears;
      for (const Linear* linear : block->site_linears(site)) {
        if (wanted(linear->name)) linears.push_back(linear);
      }
      std::optional<HessianSum> sum;
      if (!linears.empty()) sum.emplace(linears[0]->in_features);
      for (int64_t first = 0; first < count; first += at_once) {
        if (interrupted()) throw Interrupted("interrupted");
        const double inside = s + static_cast<double>(first) / static_cast<double>(count);
        progress((static_cast<double>(layer) + inside / kInputSites) / static_cast<double>(blocks),
                 concat("block ", layer + 1, "/", blocks));
        const auto inputs = stream.site_inputs(
            *block, site, first, std::min(at_once, count - first), layer + 1 < blocks);
        if (sum) sum->add(inputs);
      }
      for (const Linear* linear : linears) use(*linear, sum->hessian());
    }
    if (layer + 1 < blocks) stream.set_inputs(torch::Tensor(stream.outputs()));
  }
}

}  // namespace bitsmith
