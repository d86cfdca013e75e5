#include "compressor/quantize/block_quantizer.h"

#include <algorithm>

#include "base/error.h"
#include "compressor/model/dense_tensor.h"

namespace bitsmith {
namespace {

// How a block's time divides, for the progress line only.
constexpr double kHessianShare = 0.3;
constexpr double kLayersShare = 0.55;

const std::vector<InputSite> kSites = {InputSite::kAttentionInput, InputSite::kAttentionOutput,
                                       InputSite::kMlpInput, InputSite::kMlpDown};

}  // namespace

BlockQuantizer::BlockQuantizer(const Decoder& decoder, const QuantizationPlan& plan,
                               const QuantizeModelOptions& options, torch::Tensor activations,
                               BlockFinetuner finetune)
    : decoder_(decoder),
      plan_(plan),
      options_(options),
      activations_(std::move(activations)),
      reference_(options.cross_term > 0 ? activations_.clone() : torch::Tensor()),
      rotary_(decoder.rotary(activations_.size(1))),
      finetune_(std::move(finetune)) {}

void BlockQuantizer::run(const Block& block, const torch::Tensor& inputs, const UseOutputs& use,
                         const std::function<void(double)>& progress) const {
  const int64_t windows = inputs.size(0), length = inputs.size(1);
  const int64_t at_once = std::max<int64_t>(1, options_.batch_tokens / length);
  for (int64_t first = 0; first < windows; first += at_once) {
    progress(static_cast<double>(first) / static_cast<double>(windows));
    const int64_t count = std::min(at_once, windows - first);
    use(first, decoder_.run_block(block, inputs.narrow(0, first, count), rotary_));
  }
}

BlockQuantizer::Sums BlockQuantizer::collect(Block& block, const Block& original,
                                             const std::vector<InputSite>& sites,
                                             const std::function<void(double)>& progress) const {
  Sums sums;
  for (const InputSite site : sites) {
    for (const Linear* linear : block.site_linears(site)) {
      if (!plan_.find(linear->name)) continue;
      auto& sum = sums[static_cast<int>(site)];
      if (!sum) sum.emplace(SiteSums{HessianSum(linear->in_features), {}});
      if (with_reference() && !sum->cross) sum->cross.emplace(linear->in_features);
    }
  }
  const int64_t windows = activations_.size(0), length = activations_.size(1);
  const int64_t at_once = std::max<int64_t>(1, options_.batch_tokens / length);
  for (int64_t first = 0; first < windows; first += at_once) {
    progress(static_cast<double>(first) / static_cast<double>(windows));
    const int64_t count = std::min(at_once, windows - first);
    const auto inputs_of = [&](const Block& b, const torch::Tensor& activations,
                               std::array<torch::Tensor, kInputSites>& found) {
      return decoder_.run_block(b, activations.narrow(0, first, count), rotary_,
                                [&](InputSite site, const torch::Tensor& inputs) {
                                  const int at = static_cast<int>(site);
                                  if (sums[at]) found[at] = inputs;
                                });
    };
    std::array<torch::Tensor, kInputSites> inputs, expected;
    if (with_reference()) inputs_of(original, reference_, expected);
    const torch::Tensor outputs = inputs_of(block, activations_, inputs);
    const torch::Tensor weights =
        options_.residual_weights
            ? outputs.to(torch::kFloat).square().mean(-1).clamp_min(1e-12).reciprocal()
            : torch::Tensor();
    for (int at = 0; at < kInputSites; ++at) {
      if (!sums[at]) continue;
      sums[at]->hessian.add(inputs[at], weights);
      if (sums[at]->cross) sums[at]->cross->add(expected[at], inputs[at], weights);
    }
  }
  return sums;
}

void BlockQuantizer::quantize_linear(Linear& linear, const PlannedMatrix& matrix,
                                     const torch::Tensor& hessian, const torch::Tensor& cross,
                                     QuantizedParts& parts, const LayerObserver& observer) const {
  torch::Tensor target = decoder_.dtype() == torch::kFloat32
                             ? linear.weight
                             : read_matrix(decoder_.files(), linear.name, torch::kFloat32);
  QuantizeOptions own = options_.layer;
  own.method = matrix.method;
  QuantizedLayer result;
  try {
    if (cross.defined()) {
      target = full_precision_target(target, hessian, cross, options_.cross_term, own.damping);
    }
    result = quantize_layer(target, hessian, matrix.spec, own);
  } catch (const Interrupted&) {
    throw;
  } catch (const Error& e) {
    throw Error(concat(linear.name, ": ", e.what()));
  }
  linear.weight = options_.true_sequential
                      ? result.representation->dequantize().to(decoder_.dtype())
                      : torch::Tensor();
  const LayerSummary summary = {
      linear.name,
      to_string(matrix.spec),
      method_name(matrix.method),
      result.relative_error,
      bits_per_weight(matrix.spec, linear.out_features, linear.in_features),
      result.seconds};
  parts.matrices[linear.name] = result.representation->to_format();
  parts.layers.push_back(summary);
  if (observer) observer(summary, result.stages);
}

QuantizedParts BlockQuantizer::quantize(int64_t layer, const BlockProgress& progress,
                                        const LayerObserver& observer) {
  const std::shared_ptr<Block> block = decoder_.load_block(layer);
  // Quantised matrices take their places in `block`; a second one stays as it was where both are
  // needed.
  const std::shared_ptr<Block> original =
      options_.true_sequential && with_reference() ? decoder_.load_block(layer) : block;
  int64_t planned_weights = 0, done_weights = 0;
  for (const Linear* linear : block->linears()) {
    if (plan_.find(linear->name)) planned_weights += linear->out_features * linear->in_features;
  }
  QuantizedParts parts;
  if (planned_weights == 0) return parts;
  const auto share_done = [&] {
    return kHessianShare +
           kLayersShare * static_cast<double>(done_weights) / static_cast<double>(planned_weights);
  };

  Sums sums;
  if (!options_.true_sequential && !without_data()) {
    sums = collect(*block, *original, kSites,
                   [&](double share) { progress(kHessianShare * share, "inputs"); });
  }
  for (const InputSite site : kSites) {
    if (options_.true_sequential && !without_data()) {
      sums = collect(*block, *original, {site}, [&](double) {
        progress(done_weights > 0 ? share_done() : 0.0, site_name(site));
      });
    }
    torch::Tensor hessian, cross;
    if (auto& sum = sums[static_cast<int>(site)]) {
      hessian = sum->hessian.hessian();
      if (sum->cross) cross = sum->cross->cross();
      sum.reset();
    }
    for (Linear* linear : block->site_linears(site)) {
      const PlannedMatrix* matrix = plan_.find(linear->name);
      if (!matrix) continue;
      progress(share_done(), linear->name.substr(linear->name.rfind('.') + 1));
      quantize_linear(*linear, *matrix, hessian, cross, parts, observer);
      done_weights += linear->out_features * linear->in_features;
    }
  }
  if (finetune_) finetune(layer, parts, progress);
  return parts;
}

void BlockQuantizer::finetune(int64_t layer, QuantizedParts& parts,
                              const BlockProgress& progress) const {
  progress(kHessianShare + kLayersShare, "fine-tuning");
  const std::shared_ptr<Block> block = decoder_.load_block(layer);
  const torch::Tensor& original_inputs = with_reference() ? reference_ : activations_;
  auto targets = torch::empty_like(activations_);
  run(
      *block, original_inputs,
      [&](int64_t first, const torch::Tensor& outputs) {
        targets.narrow(0, first, outputs.size(0)).copy_(outputs);
      },
      [](double) {});
  for (Linear* linear : block->linears()) {
    const auto found = parts.matrices.find(linear->name);
    if (found == parts.matrices.end()) continue;
    linear->representation = representation_from_format(found->second);
    linear->weight.reset();
  }
  const BlockFinetuneReport report = finetune_(decoder_, *block, layer, activations_, targets);
  for (Linear* linear : block->linears()) {
    const auto found = parts.matrices.find(linear->name);
    if (found != parts.matrices.end()) found->second = linear->representation->to_format();
  }
  for (const auto& [name, value] : report.dense) {
    parts.dense[name] = value.to(torch::kHalf).contiguous();
  }
  parts.finetune = {
      {"error_before", report.before}, {"error_after", report.after}, {"epochs", report.epochs}};
  parts.finetune_seconds = report.seconds;
}

void BlockQuantizer::advance(int64_t layer, const QuantizedParts& parts,
                             const BlockProgress& progress) {
  if (without_data()) return;
  const std::shared_ptr<Block> block = decoder_.load_block(layer);
  const auto replace = [&](torch::Tensor& activations, double from, double to) {
    run(
        *block, activations,
        [&](int64_t first, const torch::Tensor& outputs) {
          activations.narrow(0, first, outputs.size(0)).copy_(outputs);
        },
        [&](double share) { progress(from + (to - from) * share, "outputs"); });
  };
  const double begin = kHessianShare + kLayersShare;
  const double middle = with_reference() ? (begin + 1) / 2 : begin;
  if (with_reference()) replace(reference_, begin, middle);
  for (Linear* linear : block->linears()) {
    const auto found = parts.matrices.find(linear->name);
    if (found != parts.matrices.end())
      linear->weight = decode_matrix(found->second, decoder_.dtype());
  }
  for (const auto& [name, vector] : block->dense_vectors(layer)) {
    const auto found = parts.dense.find(name);
    if (found != parts.dense.end()) *vector = found->second.to(decoder_.dtype());
  }
  replace(activations_, middle, 1);
}

}  // namespace bitsmith
