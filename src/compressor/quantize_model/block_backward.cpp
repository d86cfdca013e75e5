#include "compressor/quantize_model/block_backward.h"

#include <utility>

#include "base/error.h"
#include "compressor/model/experts.h"
#include "compressor/quantize_model/block_stream.h"

namespace bitsmith {

BlockBackward::BlockBackward(const Decoder& decoder, Block& block, const RotaryTables& rotary,
                             const std::set<std::string>& modules, const torch::Tensor& inputs,
                             const GradientPassOptions& options)
    : decoder_(decoder),
      block_(block),
      rotary_(rotary),
      samples_(options.samples),
      length_(inputs.size(1)) {
  std::vector<Linear*> observed;
  for (size_t site = 0; site < block.sites.size(); ++site) {
    for (Linear* linear : block.site_linears(site)) {
      if (!modules.contains(linear->name)) continue;
      sums_.push_back({linear->name,
                       site,
                       torch::full({options.row_groups, inputs.size(0) * length_}, kNoGradient),
                       torch::zeros({linear->out_features}, torch::kDouble),
                       {}});
      if (samples_ != GradientSamples::kNone) sums_.back().moment.emplace(linear->out_features);
      observed.push_back(linear);
    }
  }
  if (samples_ == GradientSamples::kWindows) find_feedback(inputs, options);
  for (size_t place = 0; place < observed.size(); ++place) {
    observed[place]->observer = [this, place](const torch::Tensor& x, const torch::Tensor& y) {
      y.register_hook([this, place, x = x.detach()](const torch::Tensor& gradient) {
        add(sums_[place], x, gradient);
      });
    };
  }
}

void BlockBackward::find_feedback(const torch::Tensor& inputs, const GradientPassOptions& options) {
  const torch::NoGradGuard no_grad;
  std::vector<std::optional<HessianSum>> hessians(block_.sites.size());
  for (const Sums& sums : sums_) {
    if (!hessians[sums.site]) hessians[sums.site].emplace(block_.sites[sums.site].features);
  }
  each_window_chunk(
      inputs, options.batch_tokens, [](double) {},
      [&](int64_t first, int64_t count) {
        decoder_.run_block(block_, inputs.narrow(0, first, count), rotary_,
                           [&](size_t site, const torch::Tensor& x) {
                             if (hessians[site]) hessians[site]->add(x);
                           });
      });
  for (const auto& hessian : hessians) {
    feedback_.push_back(hessian ? feedback_matrix(hessian->hessian(), options.damping)
                                : torch::Tensor());
  }
}

torch::Tensor BlockBackward::run(const torch::Tensor& inputs, int64_t first_token,
                                 const torch::Tensor& gradient) {
  const torch::AutoGradMode with_gradients(true);
  first_token_ = first_token;
  torch::Tensor x = inputs.detach().requires_grad_(true);
  outputs(x).backward(gradient);
  return x.grad();
}

void BlockBackward::take(OutputGradients& all) const {
  for (const Sums& sums : sums_) {
    const torch::Tensor tokens = (sums.tokens[0] >= 0).sum().clamp_min(1);
    LinearGradients gradients{sums.tokens, (sums.rows / tokens).to(torch::kFloat32)};
    if (!torch::isfinite(gradients.rows).all().item<bool>() ||
        !torch::isfinite(gradients.tokens).all().item<bool>())
      throw Error(concat(sums.module,
                         ": the gradients of its outputs are not finite: the model's activations "
                         "overflow"));
    all[sums.module] = std::move(gradients);
  }
}

SecondMoments BlockBackward::moments() const {
  SecondMoments all;
  for (const Sums& sums : sums_) {
    if (sums.moment) all[sums.module] = {sums.moment->hessian(), sums.moment->weight()};
  }
  return all;
}

torch::Tensor BlockBackward::outputs(const torch::Tensor& x) {
  const torch::Tensor o = decoder_.attention(block_, decoder_.attention_inputs(block_, x), rotary_);
  const torch::Tensor h = decoder_.add_attention(block_, x, o);
  const torch::Tensor m = decoder_.mlp_inputs(block_, x, h);
  if (!block_.plan->experts) return decoder_.add_mlp(block_, h, block_.mlps.front().hidden(m));
  chosen_ = route(block_, m.detach().flatten(0, 1)).chosen;
  return decoder_.add_experts(block_, h, m);
}

void BlockBackward::add(Sums& sums, const torch::Tensor& inputs, const torch::Tensor& gradient) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor g = gradient.reshape({-1, sums.rows.size(0)}).to(torch::kFloat32);
  const torch::Tensor squares = g.square();
  const int64_t expert = block_.sites[sums.site].expert;
  const torch::Tensor places =
      expert < 0 ? torch::arange(g.size(0)) : tokens_of_expert(chosen_, expert);
  BITSMITH_CHECK(places.size(0) == g.size(0));
  const int64_t groups = sums.tokens.size(0);
  sums.tokens.index_copy_(
      1, places + first_token_,
      squares.reshape({g.size(0), groups, g.size(1) / groups}).mean(2).t().contiguous());
  sums.rows.add_(squares.sum(0, /*keepdim=*/false, torch::kDouble));
  if (samples_ == GradientSamples::kTokens) sums.moment->add(g);
  if (samples_ == GradientSamples::kWindows)
    add_windows(sums, inputs.reshape({g.size(0), -1}).to(torch::kFloat32), g, places);
}

void BlockBackward::add_windows(Sums& sums, const torch::Tensor& x, const torch::Tensor& g,
                                const torch::Tensor& places) const {
  if (places.size(0) == 0) return;
  const torch::Tensor filtered = torch::matmul(x, feedback_[sums.site].t());  // x Ubar^T
  const torch::Tensor counts = torch::bincount(places.floor_divide(length_));
  int64_t begin = 0;
  for (int64_t window = 0; window < counts.size(0); ++window) {
    const int64_t count = counts[window].item<int64_t>();
    if (count == 0) continue;
    sums.moment->add(
        torch::matmul(filtered.narrow(0, begin, count).t(), g.narrow(0, begin, count)));
    begin += count;
  }
}

}  // namespace bitsmith
