#include "architecture/model_plan.h"

#include <algorithm>

#include "base/error.h"

namespace bitsmith {
namespace {

void add_linear(const LinearPlan& linear, std::vector<PlannedTensor>& tensors) {
  if (!linear.exists()) return;
  const auto gguf = [&](const char* ending) {
    return linear.gguf.empty() ? "" : linear.gguf + ending;
  };
  tensors.push_back({linear.name + ".weight",
                     {linear.out_features, linear.in_features},
                     linear.stored,
                     gguf(".weight"),
                     linear.gguf_stored,
                     linear.gguf_index});
  if (!linear.bias) return;
  // A transposed matrix has a plain bias.
  tensors.push_back(
      {linear.name + ".bias",
       {linear.out_features},
       StoredAs::kPlain,
       gguf(".bias"),
       linear.gguf_stored == StoredAs::kTransposed ? StoredAs::kPlain : linear.gguf_stored,
       linear.gguf_index});
}

void add_norm(const NormPlan& norm, std::vector<PlannedTensor>& tensors) {
  if (!norm.exists()) return;
  const bool plus_one = norm.kind == NormPlan::Kind::kRmsOnePlus;
  tensors.push_back({norm.name + ".weight",
                     {norm.size},
                     StoredAs::kPlain,
                     norm.gguf.empty() ? "" : norm.gguf + ".weight",
                     plus_one ? StoredAs::kPlusOne : StoredAs::kPlain});
  if (!norm.bias()) return;
  tensors.push_back({norm.name + ".bias",
                     {norm.size},
                     StoredAs::kPlain,
                     norm.gguf.empty() ? "" : norm.gguf + ".bias"});
}

void add_mlp_sites(const MlpPlan& mlp, int64_t expert, std::vector<Site>& sites) {
  Site& input =
      sites.emplace_back(Site{Site::Kind::kMlpInput, expert, mlp.inputs.front().in_features, {}});
  for (const LinearPlan& linear : mlp.inputs) input.linears.push_back(&linear);
  sites.push_back({Site::Kind::kMlpDown, expert, mlp.width, {&mlp.output}});
}

}  // namespace

const char* activation_name(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return "silu";
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_tanh";
    case Activation::kRelu:
      return "relu";
  }
  return "";
}

std::vector<Site> sites(const BlockPlan& block) {
  std::vector<Site> result;
  const AttentionPlan& attention = block.attention;
  Site& input = result.emplace_back(
      Site{Site::Kind::kAttentionInput, -1, attention.inputs.front().in_features, {}});
  for (const LinearPlan& linear : attention.inputs) input.linears.push_back(&linear);
  result.push_back({Site::Kind::kAttentionOutput, -1, attention.q_size(), {&attention.output}});
  if (block.mlp) add_mlp_sites(*block.mlp, -1, result);
  if (block.experts) {
    for (size_t e = 0; e < block.experts->experts.size(); ++e)
      add_mlp_sites(block.experts->experts[e], static_cast<int64_t>(e), result);
  }
  return result;
}

std::string site_name(const Site& site) {
  const char* name = "";
  switch (site.kind) {
    case Site::Kind::kAttentionInput:
      name = "attention input";
      break;
    case Site::Kind::kAttentionOutput:
      name = "attention output";
      break;
    case Site::Kind::kMlpInput:
      name = "mlp input";
      break;
    case Site::Kind::kMlpDown:
      name = "mlp down";
      break;
  }
  return site.expert < 0 ? name : concat(name, " of expert ", site.expert);
}

std::vector<const LinearPlan*> linears(const BlockPlan& block) {
  std::vector<const LinearPlan*> result;
  for (const Site& site : sites(block))
    result.insert(result.end(), site.linears.begin(), site.linears.end());
  return result;
}

std::vector<const NormPlan*> norms(const BlockPlan& block) {
  std::vector<const NormPlan*> result;
  for (const NormPlan* norm :
       {&block.attention_norm, &block.attention.q_norm, &block.attention.k_norm,
        &block.attention_output_norm, &block.mlp_norm, &block.mlp_output_norm})
    if (norm->exists()) result.push_back(norm);
  return result;
}

std::vector<LinearPlan> quantizable_matrices(const ModelPlan& plan) {
  std::vector<LinearPlan> result = {plan.embedding};
  for (const BlockPlan& block : plan.blocks)
    for (const LinearPlan* linear : linears(block)) result.push_back(*linear);
  if (!plan.tied) result.push_back(plan.head);
  return result;
}

int64_t mlp_width(const BlockPlan& block) {
  return block.mlp ? block.mlp->width : block.experts->experts.front().width;
}

bool extends_context(const ModelPlan& plan) {
  return std::any_of(plan.ropes.begin(), plan.ropes.end(), [](const RopePlan& rope) {
    return rope.scaling == RopePlan::Scaling::kDynamic;
  });
}

bool is_outer_matrix(const ModelPlan& plan, const std::string& module) {
  return module == plan.embedding.name || module == plan.head.name;
}

std::vector<PlannedTensor> planned_tensors(const ModelPlan& plan) {
  std::vector<PlannedTensor> tensors;
  add_linear(plan.embedding, tensors);
  add_linear(plan.positions, tensors);
  add_norm(plan.embedding_norm, tensors);
  for (const BlockPlan& block : plan.blocks) {
    for (const NormPlan* norm : norms(block)) add_norm(*norm, tensors);
    if (block.experts) add_linear(block.experts->router, tensors);
    for (const LinearPlan* linear : linears(block)) add_linear(*linear, tensors);
  }
  add_norm(plan.final_norm, tensors);
  if (!plan.tied) add_linear(plan.head, tensors);
  return tensors;
}

}  // namespace bitsmith
