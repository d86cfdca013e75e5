#include "compressor/model/block.h"

#include <algorithm>

#include "architecture/site_weights.h"
#include "base/error.h"
#include "compressor/model/dense_tensor.h"
#include "compressor/model/fused_ops.h"

namespace bitsmith {
namespace {

void load_weights(const ModelFiles& files, const LinearPlan& plan, torch::Dtype dtype,
                  Linear& linear) {
  if (files.spec(plan.name)) {
    linear.representation = representation_from_format(files.quantized(plan.name));
  } else {
    linear.weight = read_dense(files.checkpoint(), plan.name + ".weight", dtype);
  }
  if (plan.bias) linear.bias = read_dense(files.checkpoint(), plan.name + ".bias", dtype);
}

Linear without_weights(const LinearPlan& plan) {
  return {.name = plan.name,
          .out_features = plan.out_features,
          .in_features = plan.in_features,
          .weight = {},
          .bias = {},
          .representation = {},
          .observer = {}};
}

Mlp without_weights(const MlpPlan& plan) {
  Mlp mlp{plan, {}, without_weights(plan.output)};
  for (const LinearPlan& input : plan.inputs) mlp.inputs.push_back(without_weights(input));
  return mlp;
}

Linear load_linear(const ModelFiles& files, const LinearPlan& plan, torch::Dtype dtype) {
  Linear linear = without_weights(plan);
  load_weights(files, plan, dtype, linear);
  return linear;
}

void load_weights(const ModelFiles& files, torch::Dtype dtype, Mlp& mlp) {
  for (size_t i = 0; i < mlp.inputs.size(); ++i)
    load_weights(files, mlp.plan.inputs[i], dtype, mlp.inputs[i]);
  load_weights(files, mlp.plan.output, dtype, mlp.output);
}

torch::Tensor activate(Activation activation, const torch::Tensor& x) {
  switch (activation) {
    case Activation::kSilu:
      return torch::silu(x);
    case Activation::kGelu:
      return torch::gelu(x);
    case Activation::kGeluTanh:
      return torch::gelu(x, "tanh");
    case Activation::kRelu:
      return torch::relu(x);
  }
  BITSMITH_CHECK(false);
  return {};
}

}  // namespace

torch::Tensor Linear::forward(const torch::Tensor& x) const {
  torch::Tensor y;
  if (weight.defined()) {
    y = torch::linear(x, weight, bias);
  } else {
    y = representation->forward(x);
    if (bias.defined()) y = y + bias;
  }
  if (observer) observer(x, y);
  return y;
}

torch::Tensor Norm::forward(const torch::Tensor& x) const {
  if (!plan.exists()) return x;
  if (plan.kind == NormPlan::Kind::kLayer)
    return torch::layer_norm(x, {plan.size}, weight, bias, plan.eps);
  return rms_norm(x, weight, plan.eps, plan.kind == NormPlan::Kind::kRmsOnePlus);
}

torch::Tensor Mlp::hidden(const torch::Tensor& m) const {
  const torch::Tensor first = inputs.front().forward(m);
  if (!plan.gated) return activate(plan.activation, first);
  const bool in_one = inputs.size() == 1;
  const torch::Tensor gate = in_one ? first.narrow(-1, 0, plan.width) : first;
  const torch::Tensor up = in_one ? first.narrow(-1, plan.width, plan.width) : inputs[1].forward(m);
  return plan.activation == Activation::kSilu ? silu_mul(gate, up)
                                              : activate(plan.activation, gate) * up;
}

std::vector<Linear*> Block::linears() {
  std::vector<Linear*> result;
  for (const Site& site : sites) {
    const std::vector<Linear*> own = site_weights(*this, site);
    result.insert(result.end(), own.begin(), own.end());
  }
  return result;
}

std::vector<Linear*> Block::site_linears(size_t site) {
  return site_weights(*this, sites.at(site));
}

size_t Block::place(Site::Kind kind, int64_t expert) const {
  const auto found = std::ranges::find_if(
      sites, [&](const Site& site) { return site.kind == kind && site.expert == expert; });
  BITSMITH_CHECK(found != sites.end());
  return static_cast<size_t>(found - sites.begin());
}

std::vector<std::pair<std::string, torch::Tensor*>> Block::dense_vectors() {
  std::vector<std::pair<std::string, torch::Tensor*>> vectors;
  const auto add = [&](const std::string& name, torch::Tensor& vector) {
    if (vector.defined()) vectors.emplace_back(name, &vector);
  };
  for (Linear* linear : linears()) add(linear->name + ".bias", linear->bias);
  for (Norm* norm :
       {&attention_norm, &attention_output_norm, &mlp_norm, &mlp_output_norm, &q_norm, &k_norm}) {
    add(norm->plan.name + ".weight", norm->weight);
    add(norm->plan.name + ".bias", norm->bias);
  }
  return vectors;
}

Norm load_norm(const ModelFiles& files, const NormPlan& plan, torch::Dtype dtype) {
  Norm norm{plan, {}, {}};
  if (!plan.exists()) return norm;
  norm.weight = read_dense(files.checkpoint(), plan.name + ".weight", dtype);
  if (plan.bias()) norm.bias = read_dense(files.checkpoint(), plan.name + ".bias", dtype);
  return norm;
}

std::shared_ptr<Block> load_block_without_experts(const ModelFiles& files, int64_t block_index,
                                                  torch::Dtype dtype) {
  const BlockPlan& plan = files.plan().blocks.at(static_cast<size_t>(block_index));
  auto block = std::make_shared<Block>();
  block->index = block_index;
  block->plan = &plan;
  block->sites = sites(plan);
  block->attention_norm = load_norm(files, plan.attention_norm, dtype);
  block->attention_output_norm = load_norm(files, plan.attention_output_norm, dtype);
  block->mlp_norm = load_norm(files, plan.mlp_norm, dtype);
  block->mlp_output_norm = load_norm(files, plan.mlp_output_norm, dtype);
  block->q_norm = load_norm(files, plan.attention.q_norm, dtype);
  block->k_norm = load_norm(files, plan.attention.k_norm, dtype);
  for (const LinearPlan& input : plan.attention.inputs)
    block->attention_inputs.push_back(load_linear(files, input, dtype));
  block->attention_output = load_linear(files, plan.attention.output, dtype);
  if (plan.mlp) {
    block->mlps.push_back(without_weights(*plan.mlp));
    load_weights(files, dtype, block->mlps.back());
  }
  if (plan.experts) {
    block->router = read_dense(files.checkpoint(), plan.experts->router.name + ".weight", dtype);
    for (const MlpPlan& expert : plan.experts->experts)
      block->mlps.push_back(without_weights(expert));
  }
  return block;
}

void load_expert(const ModelFiles& files, int64_t expert, torch::Dtype dtype, Block& block) {
  BITSMITH_CHECK(block.plan->experts);
  load_weights(files, dtype, block.mlps.at(static_cast<size_t>(expert)));
}

void drop_expert(int64_t expert, Block& block) {
  BITSMITH_CHECK(block.plan->experts);
  const auto drop = [](Linear& linear) {
    linear.weight.reset();
    linear.bias.reset();
    linear.representation.reset();
  };
  Mlp& mlp = block.mlps.at(static_cast<size_t>(expert));
  for (Linear& input : mlp.inputs) drop(input);
  drop(mlp.output);
}

std::shared_ptr<Block> load_block(const ModelFiles& files, int64_t block_index,
                                  torch::Dtype dtype) {
  std::shared_ptr<Block> block = load_block_without_experts(files, block_index, dtype);
  if (!block->plan->experts) return block;
  for (int64_t expert = 0; expert < std::ssize(block->mlps); ++expert)
    load_expert(files, expert, dtype, *block);
  return block;
}

}  // namespace bitsmith
