#include "compressor/quantize/block_quantizer.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/error.h"
#include "compressor/model/dense_tensor.h"
#include "compressor/quantize/hessian.h"

namespace bitsmith {
namespace {

// How a block's time divides, for the progress line only.
constexpr double kHessianShare = 0.3;
constexpr double kLayersShare = 0.55;

}  // namespace

BlockQuantizer::BlockQuantizer(const Decoder& decoder, const QuantizationPlan& plan,
                               const QuantizeModelOptions& options, torch::Tensor activations)
    : decoder_(decoder),
      plan_(plan),
      options_(options),
      activations_(std::move(activations)),
      rotary_(decoder.rotary(activations_.size(1))) {}

void BlockQuantizer::run(const Block& block, const SiteObserver& observer,
                         const std::function<void(int64_t, const torch::Tensor&)>& use,
                         const std::function<void(double)>& progress) const {
  const int64_t windows = activations_.size(0), length = activations_.size(1);
  const int64_t at_once = std::max<int64_t>(1, options_.batch_tokens / length);
  for (int64_t first = 0; first < windows; first += at_once) {
    progress(static_cast<double>(first) / static_cast<double>(windows));
    const int64_t count = std::min(at_once, windows - first);
    const torch::Tensor outputs =
        decoder_.run_block(block, activations_.narrow(0, first, count), rotary_, observer);
    if (use) use(first, outputs);
  }
}

QuantizedParts BlockQuantizer::quantize(int64_t layer, const BlockProgress& progress,
                                        const LayerObserver& observer) {
  const std::shared_ptr<Block> block = decoder_.load_block(layer);
  constexpr std::array<InputSite, kInputSites> kSites = {InputSite::kAttentionInput,
                                                         InputSite::kAttentionOutput,
                                                         InputSite::kMlpInput, InputSite::kMlpDown};
  std::array<std::optional<HessianSum>, kInputSites> sums;
  int64_t planned_weights = 0;
  for (const InputSite site : kSites) {
    for (const Linear* linear : block->site_linears(site)) {
      if (!plan_.find(linear->name)) continue;
      planned_weights += linear->out_features * linear->in_features;
      if (auto& sum = sums[static_cast<int>(site)]; !sum) sum.emplace(linear->in_features);
    }
  }
  QuantizedParts parts;
  if (planned_weights == 0) return parts;

  run(
      *block,
      [&](InputSite site, const torch::Tensor& inputs) {
        if (auto& sum = sums[static_cast<int>(site)]) sum->add(inputs);
      },
      {}, [&](double share) { progress(kHessianShare * share, "inputs"); });

  int64_t done_weights = 0;
  for (const InputSite site : kSites) {
    auto& sum = sums[static_cast<int>(site)];
    if (!sum) continue;
    const torch::Tensor hessian = sum->hessian();
    sum.reset();
    for (Linear* linear : block->site_linears(site)) {
      const PlannedMatrix* matrix = plan_.find(linear->name);
      if (!matrix) continue;
      progress(kHessianShare + kLayersShare * static_cast<double>(done_weights) /
                                   static_cast<double>(planned_weights),
               linear->name.substr(linear->name.rfind('.') + 1));
      const torch::Tensor weight =
          decoder_.dtype() == torch::kFloat32
              ? linear->weight
              : read_matrix(decoder_.files(), linear->name, torch::kFloat32);
      QuantizeOptions own = options_.layer;
      own.method = matrix->method;
      QuantizedLayer result;
      try {
        result = quantize_layer(weight, hessian, matrix->spec, own);
      } catch (const Interrupted&) {
        throw;
      } catch (const Error& e) {
        throw Error(concat(linear->name, ": ", e.what()));
      }
      linear->weight.reset();
      const LayerSummary summary = {
          linear->name,
          to_string(matrix->spec),
          method_name(matrix->method),
          result.relative_error,
          bits_per_weight(matrix->spec, linear->out_features, linear->in_features),
          result.seconds};
      parts.matrices[linear->name] = result.representation->to_format();
      parts.layers.push_back(summary);
      done_weights += linear->out_features * linear->in_features;
      if (observer) observer(summary, result.stages);
    }
  }
  return parts;
}

void BlockQuantizer::advance(int64_t layer, const QuantizedParts& parts,
                             const BlockProgress& progress) {
  const std::shared_ptr<Block> block = decoder_.load_block(layer);
  for (Linear* linear : block->linears()) {
    const auto found = parts.matrices.find(linear->name);
    if (found != parts.matrices.end())
      linear->weight = decode_matrix(found->second, decoder_.dtype());
  }
  run(
      *block, {},
      [&](int64_t first, const torch::Tensor& outputs) {
        activations_.narrow(0, first, outputs.size(0)).copy_(outputs);
      },
      [&](double share) {
        const double before = kHessianShare + kLayersShare;
        progress(before + (1 - before) * share, "outputs");
      });
}

}  // namespace bitsmith
