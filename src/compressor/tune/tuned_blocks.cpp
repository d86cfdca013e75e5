#include "compressor/tune/tuned_blocks.h"

#include <algorithm>

#include "base/error.h"

namespace bitsmith {
namespace {

double root_mean_square(const torch::Tensor& t) {
  return std::max(1e-12, t.square().mean().sqrt().item<double>());
}

}  // namespace

void TunedBlocks::add(Block& block, int64_t layer, torch::Dtype dtype) {
  const torch::NoGradGuard no_grad;
  for (Linear* linear : block.linears()) {
    if (!linear->representation) continue;
    TunedLinear tuned;
    tuned.linear = linear;
    tuned.gradient = torch::zeros({linear->out_features, linear->in_features});
    for (auto& parameter : linear->representation->continuous_parameters()) {
      parameter.value.set_requires_grad(true);
      tuned.continuous.push_back({linear->name + "." + parameter.name,
                                  parameter.value,
                                  {},
                                  {},
                                  root_mean_square(parameter.value)});
    }
    linear->weight = linear->representation->dequantize().to(dtype).detach().clone();
    linear->weight.set_requires_grad(true);
    linears_.push_back(std::move(tuned));
  }
  for (const auto& [name, live] : block.dense_vectors(layer)) {
    *live = live->detach().to(dtype).clone();
    live->set_requires_grad(true);
    auto master = live->detach().to(torch::kFloat32).clone();
    norms_.push_back({name, master, *live, {}, root_mean_square(master)});
  }
}

void TunedBlocks::collect_gradients() {
  const torch::NoGradGuard no_grad;
  for (auto& tuned : linears_) {
    auto& gradient = tuned.linear->weight.mutable_grad();
    if (!gradient.defined()) continue;
    tuned.gradient.add_(gradient);
    gradient.reset();
  }
}

void TunedBlocks::clear_gradients() {
  for (auto& tuned : linears_) tuned.gradient.zero_();
  for (auto& norm : norms_) norm.live.mutable_grad().reset();
}

void TunedBlocks::refresh() {
  const torch::NoGradGuard no_grad;
  for (auto& tuned : linears_) tuned.linear->weight.copy_(tuned.representation().dequantize());
  for (auto& norm : norms_) norm.live.copy_(norm.value);
}

std::map<std::string, torch::Tensor> TunedBlocks::save_values() {
  std::map<std::string, torch::Tensor> values;
  for (auto& tuned : linears_) {
    values[tuned.linear->name + ".codes"] = tuned.representation().coded().codes().detach().clone();
    for (auto& c : tuned.continuous) values[c.name] = c.value.detach().clone();
  }
  for (auto& norm : norms_) values[norm.name] = norm.value.detach().clone();
  return values;
}

void TunedBlocks::restore_values(const std::map<std::string, torch::Tensor>& values) {
  const torch::NoGradGuard no_grad;
  for (auto& tuned : linears_) {
    tuned.representation().coded().codes().copy_(values.at(tuned.linear->name + ".codes"));
    for (auto& c : tuned.continuous) c.value.copy_(values.at(c.name));
  }
  for (auto& norm : norms_) norm.value.copy_(values.at(norm.name));
}

void TunedBlocks::project() {
  const torch::NoGradGuard no_grad;
  for (auto& tuned : linears_) tuned.representation().project();
  for (auto& norm : norms_) norm.value.copy_(norm.value.to(torch::kHalf));
}

}  // namespace bitsmith
