#include "compressor/train/tuned_blocks.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "compressor/model/dense_tensor.h"
#include "kernels/kernel_table.h"

namespace bitsmith {
namespace {

double root_mean_square(const torch::Tensor& t) {
  return std::max(1e-12, t.square().mean().sqrt().item<double>());
}

std::string codes_name(const TunedLinear& tuned) { return tuned.linear->name + ".codes"; }

// sum += term, without a float32 copy of a bfloat16 term.
void add_to_sum(const torch::Tensor& term, torch::Tensor& sum) {
  const bool in_bfloat16 = term.scalar_type() == torch::kBFloat16 && term.is_cpu() &&
                           term.is_contiguous() && sum.is_contiguous();
  if (!in_bfloat16) {
    sum.add_(term);
    return;
  }
  const auto* from = reinterpret_cast<const uint16_t*>(term.const_data_ptr<at::BFloat16>());
  auto* to = sum.mutable_data_ptr<float>();
  at::parallel_for(0, term.numel(), 1 << 15, [&](int64_t begin, int64_t end) {
    kernels().bfloat16.accumulate(from + begin, end - begin, to + begin);
  });
}

// Adds the gradient of `leaf` to `sum`, float32, and clears it.
void take_gradient(const torch::Tensor& leaf, torch::Tensor& sum) {
  const torch::NoGradGuard no_grad;
  auto& gradient = leaf.mutable_grad();
  if (!gradient.defined()) return;
  add_to_sum(gradient, sum);
  gradient.reset();
}

// Takes a leaf's gradient as soon as a backward pass has it.
class TakeGradient : public torch::autograd::PostAccumulateGradHook {
 public:
  explicit TakeGradient(torch::Tensor sum) : sum_(std::move(sum)) {}
  void operator()(const torch::Tensor& leaf) override { take_gradient(leaf, sum_); }

 private:
  torch::Tensor sum_;
};

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
  torch::autograd::impl::set_post_acc_grad_hooks(linear.weight,
                                                 std::make_unique<TakeGradient>(tuned.gradient));
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
  for (auto& tuned : linears_) take_gradient(tuned.linear->weight, tuned.gradient);
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
    visitor(codes_name(tuned), codes);
  }
  visit_parameters(visitor);
}

void TunedBlocks::visit_parameters(const StateVisitor& visitor) {
  for (auto& tuned : linears_) {
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

uint64_t TunedBlocks::matrix_bytes() {
  uint64_t bytes = 0;
  const StateVisitor add = [&](const std::string&, torch::Tensor& tensor) {
    if (tensor.defined()) bytes += tensor.nbytes();
  };
  for (auto& tuned : linears_) {
    auto codes = tuned.representation().coded().codes();
    add("", codes);
    add("", tuned.gradient);
    add("", tuned.linear->weight);
    for (auto& c : tuned.continuous) {
      add("", c.value);
      c.adam.visit("", add);
    }
    if (tuned.rule) tuned.rule->visit("", add);
  }
  return bytes;
}

std::map<std::string, torch::Tensor> TunedBlocks::save_values() {
  auto values = save_parameters();
  for (auto& tuned : linears_)
    values[codes_name(tuned)] = tuned.representation().coded().codes().clone();
  return values;
}

std::map<std::string, torch::Tensor> TunedBlocks::save_parameters() {
  std::map<std::string, torch::Tensor> values;
  visit_parameters([&](const std::string& name, torch::Tensor& tensor) {
    values[name] = tensor.detach().clone();
  });
  return values;
}

void TunedBlocks::restore_values(const std::map<std::string, torch::Tensor>& values) {
  const torch::NoGradGuard no_grad;
  visit_values([&](const std::string& name, torch::Tensor& tensor) {
    const auto saved = values.find(name);
    if (saved != values.end()) tensor.copy_(saved->second);
  });
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
