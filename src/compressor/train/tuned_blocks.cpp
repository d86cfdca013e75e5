#include "compressor/train/tuned_blocks.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "compressor/model/dense_tensor.h"

namespace bitsmith {
namespace {

double root_mean_square(const torch::Tensor& t) {
  return std::max(1e-12, t.square().mean().sqrt().item<double>());
}

}  // namespace

void TunedLinear::refresh() const {
  const torch::NoGradGuard no_grad;
  linear->weight.copy_(representation().dequantize());
}

TunedLinear& TunedBlocks::add(Linear& linear, torch::Dtype dtype) {
  const torch::NoGradGuard no_grad;
  BITSMITH_CHECK(linear.representation);
  TunedLinear tuned;
  tuned.linear = &linear;
  tuned.gradient = torch::zeros({linear.out_features, linear.in_features});
  for (auto& parameter : linear.representation->continuous_parameters()) {
    parameter.value.set_requires_grad(true);
    tuned.continuous.push_back({linear.name + "." + parameter.name,
                                parameter.value,
                                {},
                                {.memory = &memory_},
                                root_mean_square(parameter.value)});
  }
  linear.weight = linear.representation->dequantize().to(dtype).detach().clone();
  linear.weight.set_requires_grad(true);
  return linears_.emplace_back(std::move(tuned));
}

void TunedBlocks::add(Block& block, const Decoder& decoder, TrainedVectors vectors) {
  const torch::NoGradGuard no_grad;
  for (Linear* linear : block.linears()) {
    if (linear->representation) add(*linear, decoder.dtype());
  }
  for (const auto& [name, live] : block.dense_vectors()) {
    if (!(name.ends_with(".bias") ? vectors.biases : vectors.norms)) continue;
    // From the file: the block's own may be rounded to the decoder's dtype.
    const auto master = read_dense(decoder.files().checkpoint(), name, torch::kFloat32);
    *live = master.to(decoder.dtype(), /*non_blocking=*/false, /*copy=*/true);
    live->set_requires_grad(true);
    norms_.push_back({name, master, *live, {.memory = &memory_}, root_mean_square(master)});
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
  for (auto& norm : norms_) {
    auto& gradient = norm.live.mutable_grad();
    if (!gradient.defined()) continue;
    if (!norm.gradient.defined()) norm.gradient = torch::zeros(gradient.sizes(), torch::kFloat32);
    norm.gradient.add_(gradient);
    gradient.reset();
  }
}

void TunedBlocks::clear_gradients() {
  for (auto& tuned : linears_) tuned.gradient.zero_();
  for (auto& norm : norms_) norm.gradient.reset();
}

double TunedBlocks::gradient_norm() const {
  const torch::NoGradGuard no_grad;
  double sum = 0;
  const auto add = [&](const torch::Tensor& gradient) {
    const double norm = gradient.norm().item<double>();
    sum += norm * norm;
  };
  for (const auto& tuned : linears_) add(tuned.gradient);
  for (const auto& norm : norms_) {
    if (norm.gradient.defined()) add(norm.gradient);
  }
  return std::sqrt(sum);
}

void TunedBlocks::scale_gradients(double factor) {
  const torch::NoGradGuard no_grad;
  for (auto& tuned : linears_) tuned.gradient.mul_(factor);
  for (auto& norm : norms_) {
    if (norm.gradient.defined()) norm.gradient.mul_(factor);
  }
}

void TunedBlocks::refresh() {
  const torch::NoGradGuard no_grad;
  for (auto& tuned : linears_) tuned.refresh();
  for (auto& norm : norms_) norm.live.copy_(norm.value);
}

void TunedBlocks::visit_values(const StateVisitor& visitor) {
  for (auto& tuned : linears_) {
    auto codes = tuned.representation().coded().codes();
    visitor(tuned.linear->name + ".codes", codes);
    for (auto& c : tuned.continuous) visitor(c.name, c.value);
  }
  for (auto& norm : norms_) visitor(norm.name, norm.value);
}

void TunedBlocks::visit_state(const StateVisitor& visitor) {
  visit_values(visitor);
  for (auto& tuned : linears_) {
    for (auto& c : tuned.continuous) c.adam.visit(c.name, visitor);
    if (tuned.rule) tuned.rule->visit(tuned.linear->name, visitor);
  }
  for (auto& norm : norms_) norm.adam.visit(norm.name, visitor);
}

std::map<std::string, torch::Tensor> TunedBlocks::save_values() {
  std::map<std::string, torch::Tensor> values;
  visit_values([&](const std::string& name, torch::Tensor& tensor) {
    values[name] = tensor.detach().clone();
  });
  return values;
}

void TunedBlocks::restore_values(const std::map<std::string, torch::Tensor>& values) {
  const torch::NoGradGuard no_grad;
  visit_values(
      [&](const std::string& name, torch::Tensor& tensor) { tensor.copy_(values.at(name)); });
}

void TunedBlocks::project() {
  const torch::NoGradGuard no_grad;
  for (auto& tuned : linears_) {
    tuned.representation().project();
    tuned.refresh();
  }
  for (auto& norm : norms_) {
    norm.value.copy_(norm.value.to(torch::kHalf));
    norm.live.copy_(norm.value);
  }
}

}  // namespace bitsmith
