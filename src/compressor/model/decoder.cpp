#include "compressor/model/decoder.h"

#include "base/error.h"
#include "compressor/model/attention.h"
#include "compressor/model/dense_tensor.h"
#include "compressor/model/experts.h"

namespace bitsmith {
namespace {

// [batch, length, heads * head_dim] -> [batch, length, heads, head_dim].
torch::Tensor split_heads(const torch::Tensor& x, int64_t head_dim) {
  return x.view({x.size(0), x.size(1), x.size(2) / head_dim, head_dim});
}

struct Projections {
  torch::Tensor q, k, v;  // [batch, length, heads or kv_heads, head_dim]
};

Projections project(const Block& block, const torch::Tensor& a) {
  const AttentionPlan& plan = block.plan->attention;
  const auto& inputs = block.attention_inputs;
  const torch::Tensor first = inputs[0].forward(a);
  switch (plan.order) {
    case AttentionPlan::Order::kSeparate:
      return {split_heads(first, plan.head_dim), split_heads(inputs[1].forward(a), plan.head_dim),
              split_heads(inputs[2].forward(a), plan.head_dim)};
    case AttentionPlan::Order::kConcatenated: {
      const torch::Tensor all = split_heads(first, plan.head_dim);
      return {all.narrow(2, 0, plan.heads), all.narrow(2, plan.heads, plan.kv_heads),
              all.narrow(2, plan.heads + plan.kv_heads, plan.kv_heads)};
    }
    case AttentionPlan::Order::kByHead: {
      const torch::Tensor all =
          first.view({first.size(0), first.size(1), plan.heads, 3, plan.head_dim});
      return {all.select(3, 0), all.select(3, 1), all.select(3, 2)};
    }
  }
  BITSMITH_CHECK(false);
  return {};
}

// A norm of each head's values, or of all heads' together.
torch::Tensor normalize_heads(const Norm& norm, const torch::Tensor& x) {
  if (norm.plan.size == x.size(3)) return norm.forward(x);
  return norm.forward(x.flatten(2, 3)).view_as(x);
}

}  // namespace

torch::Tensor OutputHead::logits(const torch::Tensor& hidden) const {
  torch::Tensor logits = torch::linear(hidden, weight);
  if (soft_cap > 0) logits.div_(soft_cap).tanh_().mul_(soft_cap);
  return logits;
}

std::unique_ptr<Decoder> Decoder::open(std::shared_ptr<const ModelFiles> files,
                                       torch::Dtype dtype) {
  auto decoder = std::make_unique<Decoder>();
  const ModelPlan& plan = files->plan();
  decoder->files_ = std::move(files);
  decoder->dtype_ = dtype;
  if (plan.positions.exists())
    decoder->positions_ = read_matrix(decoder->files(), plan.positions.name, dtype);
  decoder->embedding_norm_ = load_norm(decoder->files(), plan.embedding_norm, dtype);
  return decoder;
}

std::unique_ptr<Decoder> Decoder::load_without_blocks(std::shared_ptr<const ModelFiles> files,
                                                      torch::Dtype dtype,
                                                      bool outer_representations) {
  auto decoder = open(std::move(files), dtype);
  const ModelPlan& plan = decoder->plan();
  const auto load_outer = [&](const LinearPlan& shape) {
    auto linear = std::make_shared<Linear>();
    linear->name = shape.name;
    linear->out_features = shape.out_features;
    linear->in_features = shape.in_features;
    linear->weight = read_matrix(decoder->files(), shape.name, dtype);
    if (outer_representations && decoder->files().spec(shape.name))
      linear->representation = representation_from_format(decoder->files().quantized(shape.name));
    return linear;
  };
  decoder->embedding_ = load_outer(plan.embedding);
  decoder->norm_ = load_norm(decoder->files(), plan.final_norm, dtype);
  decoder->head_ = plan.tied ? decoder->embedding_ : load_outer(plan.head);
  return decoder;
}

std::unique_ptr<Decoder> Decoder::load(std::shared_ptr<const ModelFiles> files, torch::Dtype dtype,
                                       bool outer_representations) {
  auto decoder = load_without_blocks(std::move(files), dtype, outer_representations);
  for (int64_t block_index = 0; block_index < decoder->plan().num_blocks(); ++block_index)
    decoder->blocks_.push_back(decoder->load_block(block_index));
  return decoder;
}

std::vector<Linear*> Decoder::outer_linears() {
  if (head_ == embedding_) return {embedding_.get()};
  return {embedding_.get(), head_.get()};
}

std::shared_ptr<Block> Decoder::load_block(int64_t block_index) const {
  return bitsmith::load_block(*files_, block_index, dtype_);
}

torch::Tensor Decoder::embed_with(const torch::Tensor& embedding, const torch::Tensor& ids) const {
  torch::Tensor x = torch::embedding(embedding, ids);
  // Hugging Face rounds the scale to the model's dtype.
  if (plan().embedding_scale != 1) x = x * torch::tensor(plan().embedding_scale, x.options());
  if (positions_.defined()) {
    if (ids.size(1) + plan().position_offset > positions_.size(0))
      throw Error(concat("a window of ", ids.size(1), " tokens is longer than the ",
                         positions_.size(0) - plan().position_offset,
                         " positions that this model has learned"));
    x = x + positions_.narrow(0, plan().position_offset, ids.size(1));
  }
  return embedding_norm_.forward(x);
}

RotaryTables Decoder::rotary(int64_t length) const {
  RotaryTables tables;
  for (const RopePlan& rope : plan().ropes) {
    const std::vector<double> frequencies = rope_inverse_frequencies(rope, length);
    // Hugging Face multiplies positions by float32 frequencies; at large angles that rounding
    // shows.
    const torch::Tensor inverse = torch::tensor(frequencies, torch::kFloat64).to(torch::kFloat32);
    const torch::Tensor angle =
        torch::arange(length, torch::kFloat32).unsqueeze(1) * inverse.unsqueeze(0);
    tables.push_back({angle.cos() * rope.attention_factor, angle.sin() * rope.attention_factor});
  }
  return tables;
}

torch::Tensor Decoder::attention_inputs(const Block& block, const torch::Tensor& x) const {
  return block.attention_norm.forward(x);
}

torch::Tensor Decoder::attention(const Block& block, const torch::Tensor& a,
                                 const RotaryTables& rotary) const {
  const AttentionPlan& plan = block.plan->attention;
  auto [q, k, v] = project(block, a);
  if (plan.q_norm.exists()) q = normalize_heads(block.q_norm, q);
  if (plan.k_norm.exists()) k = normalize_heads(block.k_norm, k);
  if (plan.rope >= 0) {
    q = apply_rotary(q, rotary.at(static_cast<size_t>(plan.rope)));
    k = apply_rotary(k, rotary.at(static_cast<size_t>(plan.rope)));
  }
  return causal_attention(
      q, k, v,
      {.scale = plan.scale, .window = plan.window, .soft_cap = plan.soft_cap, .alibi = plan.alibi});
}

torch::Tensor Decoder::add_attention(const Block& block, const torch::Tensor& x,
                                     const torch::Tensor& o) const {
  return x + block.attention_output_norm.forward(block.attention_output.forward(o));
}

torch::Tensor Decoder::mlp_inputs(const Block& block, const torch::Tensor& x,
                                  const torch::Tensor& h) const {
  return block.mlp_norm.forward(block.plan->parallel ? x : h);
}

torch::Tensor Decoder::add_mlp(const Block& block, const torch::Tensor& h,
                               const torch::Tensor& d) const {
  return h + block.mlp_output_norm.forward(block.mlps.front().output.forward(d));
}

torch::Tensor Decoder::add_experts(const Block& block, const torch::Tensor& h,
                                   const torch::Tensor& m) const {
  return h + block.mlp_output_norm.forward(run_experts(block, m.flatten(0, 1)).view_as(m));
}

torch::Tensor Decoder::run_block(const Block& block, const torch::Tensor& x,
                                 const RotaryTables& rotary, const SiteObserver& observer) const {
  using Kind = Site::Kind;
  const auto observe = [&](Kind kind, const torch::Tensor& inputs, int64_t expert = -1) {
    if (observer) observer(block.place(kind, expert), inputs);
    return inputs;
  };
  const torch::Tensor a = observe(Kind::kAttentionInput, attention_inputs(block, x));
  const torch::Tensor o = observe(Kind::kAttentionOutput, attention(block, a, rotary));
  const torch::Tensor h = add_attention(block, x, o);
  const torch::Tensor m = mlp_inputs(block, x, h);
  if (!block.plan->experts) {
    const torch::Tensor d = block.mlps.front().hidden(observe(Kind::kMlpInput, m));
    return add_mlp(block, h, observe(Kind::kMlpDown, d));
  }
  if (observer) {
    const torch::Tensor tokens = m.flatten(0, 1);
    const torch::Tensor chosen = route(block, tokens).chosen;
    for (int64_t e = 0; e < std::ssize(block.mlps); ++e) {
      const torch::Tensor own = tokens.index_select(0, tokens_of_expert(chosen, e));
      observe(Kind::kMlpInput, own, e);
      observe(Kind::kMlpDown, block.mlps[static_cast<size_t>(e)].hidden(own), e);
    }
  }
  return add_experts(block, h, m);
}

torch::Tensor Decoder::hidden_states(const torch::Tensor& ids) const {
  const RotaryTables tables = rotary(ids.size(1));
  torch::Tensor x = embed(ids);
  for (const std::shared_ptr<Block>& block : blocks_) x = run_block(*block, x, tables);
  return final_norm(x);
}

}  // namespace bitsmith
