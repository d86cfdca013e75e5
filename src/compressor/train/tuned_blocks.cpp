#include "compressor/train/tuned_blocks.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "compressor/model/dense_tensor.h"
#include "compressor/tensor_bytes.h"
#include "compressor/train/gradient_sum.h"

namespace bitsmith {
namespace {

double root_mean_square(const torch::Tensor& t) {
  return std::max(1e-12, t.square().mean().sqrt().item<double>());
}

std::string codes_name(const TunedLinear& tuned) { return tuned.linear->name + ".codes"; }

// Adds the gradient of `leaf` to `sum` and clears it.
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
                                root_mean_square(parameter.value),
                                parameter.of_channels});
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
    norms_.push_back({name,
                      master,
                      *live,
                      {.memory = &memory_},
                      root_mean_square(master),
                      /*of_channels=*/true});
  }
}

void TunedBlocks::deal() {
  std::vector<double> sizes;
  for (const auto& tuned : linears_)
    sizes.push_back(static_cast<double>(tuned.linear->weight.numel()));
  for (const auto& norm : norms_) sizes.push_back(static_cast<double>(norm.value.numel()));
  const std::vector<int> owners = deal_by_size(sizes, communicator_.size());
  auto owner = owners.begin();
  for (auto& tuned : linears_) {
    tuned.owner = *owner++;
    if (communicator_.size() == 1) continue;
    // A GradientExchange takes them.
    torch::autograd::impl::set_post_acc_grad_hooks(tuned.linear->weight, nullptr);
    if (tuned.owner != communicator_.rank()) tuned.gradient.reset();
  }
  for (auto& norm : norms_) norm.owner = *owner++;
}

void TunedBlocks::collect_gradients() {
  const torch::NoGradGuard no_grad;
  for (auto& tuned : linears_) take_gradient(tuned.linear->weight, tuned.gradient);
  for (auto& norm : norms_) take_gradient(norm.live, norm.gradient);
}

void TunedBlocks::clear_gradients() {
  for (auto& tuned : own_linears()) tuned.gradient.zero_();
  for (auto& norm : norms_) norm.gradient.reset();
}

double TunedBlocks::gradient_norm() {
  const torch::NoGradGuard no_grad;
  std::vector<double> squares;  // of each; zero where another rank has it
  const auto add = [&](const torch::Tensor& gradient) {
    const double norm = gradient.defined() ? gradient.norm().item<double>() : 0;
    squares.push_back(norm * norm);
  };
  for (const auto& tuned : linears_) add(tuned.gradient);
  for (const auto& norm : norms_) add(norm.gradient);
  communicator_.sum(squares);
  return std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
}

void TunedBlocks::scale_gradients(double factor) {
  const torch::NoGradGuard no_grad;
  for (auto& tuned : own_linears()) tuned.gradient.mul_(factor);
  for (auto& norm : norms_) {
    if (norm.gradient.defined()) norm.gradient.mul_(factor);
  }
}

void TunedBlocks::share_values() {
  if (communicator_.size() == 1) return;
  const torch::NoGradGuard no_grad;
  for (auto& tuned : linears_)
    for (auto& c : tuned.continuous) communicator_.broadcast(tensor_bytes(c.value), tuned.owner);
  for (auto& norm : norms_) communicator_.broadcast(tensor_bytes(norm.value), norm.owner);
}

std::vector<torch::Tensor> TunedBlocks::own_codes() {
  std::vector<torch::Tensor> codes;
  if (communicator_.size() == 1) return codes;
  for (const auto& tuned : linears_) {
    const bool is_own = tuned.owner == communicator_.rank();
    codes.push_back(is_own ? tuned.representation().coded().codes().clone() : torch::Tensor());
  }
  return codes;
}

// Few change in a step: only those are sent.
void TunedBlocks::share_codes(const std::vector<torch::Tensor>& before) {
  if (communicator_.size() == 1) return;
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> changed(linears_.size());  // code groups [n] int64
  std::vector<double> counts(linears_.size());
  for (size_t i = 0; i < linears_.size(); ++i) {
    if (!before[i].defined()) continue;
    const auto codes = linears_[i].representation().coded().codes();
    changed[i] = (codes != before[i]).any(1).nonzero().squeeze(1).contiguous();
    counts[i] = static_cast<double>(changed[i].numel());
  }
  communicator_.sum(counts);
  for (size_t i = 0; i < linears_.size(); ++i) {
    const auto count = static_cast<int64_t>(counts[i]);
    if (count == 0) continue;
    CodedTerm& term = linears_[i].representation().coded();
    const int owner = linears_[i].owner;
    if (!changed[i].defined()) changed[i] = torch::empty({count}, torch::kInt64);
    communicator_.broadcast(tensor_bytes(changed[i]), owner);
    const auto codes = owner == communicator_.rank()
                           ? term.codes().index_select(0, changed[i])
                           : torch::empty({count, term.codes().size(1)}, term.codes().options());
    communicator_.broadcast(tensor_bytes(codes), owner);
    if (owner != communicator_.rank()) term.assign_codes(changed[i], codes);
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

void TunedBlocks::visit_own_state(const StateVisitor& visitor) {
  for (auto& tuned : own_linears()) {
    for (auto& c : tuned.continuous) c.adam.visit(c.name, visitor);
    if (tuned.rule) tuned.rule->visit(tuned.linear->name, visitor);
  }
  for (auto& norm : own_norms()) norm.adam.visit(norm.name, visitor);
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
