#include "compressor/model/decoder.h"

#include "base/error.h"
#include "compressor/model/attention.h"
#include "compressor/model/dense_tensor.h"

namespace bitsmith {
namespace {

Linear load_linear(const ModelFiles& files, const LinearShape& shape, torch::Dtype dtype) {
  Linear linear{.name = shape.name,
                .out_features = shape.out_features,
                .in_features = shape.in_features,
                .weight = {},
                .bias = {},
                .representation = {}};
  if (files.spec(shape.name)) {
    linear.representation = representation_from_format(files.quantized(shape.name));
  } else {
    linear.weight = read_dense(files.checkpoint(), shape.name + ".weight", dtype);
  }
  if (shape.bias) linear.bias = read_dense(files.checkpoint(), shape.name + ".bias", dtype);
  return linear;
}

// [batch, length, heads * head_dim] -> [batch, length, heads, head_dim].
torch::Tensor split_heads(const torch::Tensor& x, int64_t head_dim) {
  return x.view({x.size(0), x.size(1), x.size(2) / head_dim, head_dim});
}

}  // namespace

torch::Tensor Linear::forward(const torch::Tensor& x) const {
  if (weight.defined()) return torch::linear(x, weight, bias);
  const torch::Tensor y = representation->forward(x);
  return bias.defined() ? y + bias : y;
}

const char* site_name(InputSite site) {
  switch (site) {
    case InputSite::kAttentionInput:
      return "attention input";
    case InputSite::kAttentionOutput:
      return "attention output";
    case InputSite::kMlpInput:
      return "mlp input";
    case InputSite::kMlpDown:
      return "mlp down";
  }
  BITSMITH_CHECK(false);
  return "";
}

std::vector<Linear*> Block::linears() { return {&q, &k, &v, &o, &gate, &up, &down}; }

std::vector<Linear*> Block::site_linears(InputSite site) {
  switch (site) {
    case InputSite::kAttentionInput:
      return {&q, &k, &v};
    case InputSite::kAttentionOutput:
      return {&o};
    case InputSite::kMlpInput:
      return {&gate, &up};
    case InputSite::kMlpDown:
      return {&down};
  }
  BITSMITH_CHECK(false);
  return {};
}

std::vector<std::pair<std::string, torch::Tensor*>> Block::dense_vectors(int64_t block_index) {
  std::vector<std::pair<std::string, torch::Tensor*>> vectors;
  const auto add = [&](const std::string& name, torch::Tensor& vector) {
    if (vector.defined()) vectors.emplace_back(name, &vector);
  };
  for (Linear* linear : linears()) add(linear->name + ".bias", linear->bias);
  const std::string prefix = concat("model.layers.", block_index, ".");
  add(prefix + "input_layernorm.weight", input_norm);
  add(prefix + "post_attention_layernorm.weight", post_attention_norm);
  add(prefix + "self_attn.q_norm.weight", q_norm);
  add(prefix + "self_attn.k_norm.weight", k_norm);
  return vectors;
}

std::unique_ptr<Decoder> Decoder::open(std::shared_ptr<const ModelFiles> files,
                                       torch::Dtype dtype) {
  auto decoder = std::make_unique<Decoder>();
  decoder->files_ = std::move(files);
  decoder->dtype_ = dtype;
  return decoder;
}

std::unique_ptr<Decoder> Decoder::load(std::shared_ptr<const ModelFiles> files,
                                       torch::Dtype dtype) {
  auto decoder = open(std::move(files), dtype);
  const ModelConfig& config = decoder->config();
  decoder->embedding_ = read_matrix(decoder->files(), "model.embed_tokens", dtype);
  decoder->norm_ = read_dense(decoder->files().checkpoint(), "model.norm.weight", dtype);
  decoder->head_.name = "lm_head";
  decoder->head_.out_features = config.vocab_size;
  decoder->head_.in_features = config.hidden_size;
  decoder->head_.weight = config.tie_word_embeddings
                              ? decoder->embedding_
                              : read_matrix(decoder->files(), "lm_head", dtype);
  for (int64_t block_index = 0; block_index < config.num_hidden_layers; ++block_index)
    decoder->blocks_.push_back(decoder->load_block(block_index));
  return decoder;
}

std::shared_ptr<Block> Decoder::load_block(int64_t block_index) const {
  auto block = std::make_shared<Block>();
  const std::string prefix = concat("model.layers.", block_index, ".");
  const auto norm = [&](const char* name) {
    return read_dense(files_->checkpoint(), prefix + name + ".weight", dtype_);
  };
  block->input_norm = norm("input_layernorm");
  block->post_attention_norm = norm("post_attention_layernorm");
  if (config().qk_norm) {
    block->q_norm = norm("self_attn.q_norm");
    block->k_norm = norm("self_attn.k_norm");
  }
  const std::vector<LinearShape> shapes = block_linears(config(), block_index);
  const std::vector<Linear*> linears = block->linears();
  BITSMITH_CHECK(shapes.size() == linears.size());
  for (size_t i = 0; i < shapes.size(); ++i) *linears[i] = load_linear(*files_, shapes[i], dtype_);
  block->sliding_window = config().sliding_window.at(block_index);
  return block;
}

torch::Tensor Decoder::embed(const torch::Tensor& ids) const {
  return torch::embedding(embedding_, ids);
}

RotaryTable Decoder::rotary(int64_t length) const {
  const std::vector<double> frequencies = rope_inverse_frequencies(config(), length);
  // Hugging Face multiplies positions by float32 frequencies; at large angles that rounding shows.
  const torch::Tensor inverse = torch::tensor(frequencies, torch::kFloat64).to(torch::kFloat32);
  const torch::Tensor angle =
      torch::arange(length, torch::kFloat32).unsqueeze(1) * inverse.unsqueeze(0);
  return {angle.cos(), angle.sin()};
}

torch::Tensor Decoder::attention_inputs(const Block& block, const torch::Tensor& x) const {
  return rms_norm(x, block.input_norm, config().rms_norm_eps);
}

torch::Tensor Decoder::attention(const Block& block, const torch::Tensor& a,
                                 const RotaryTable& rotary) const {
  const int64_t head_dim = config().head_dim;
  const double eps = config().rms_norm_eps;
  torch::Tensor q = split_heads(block.q.forward(a), head_dim);
  torch::Tensor k = split_heads(block.k.forward(a), head_dim);
  const torch::Tensor v = split_heads(block.v.forward(a), head_dim);
  if (config().qk_norm) {
    q = rms_norm(q, block.q_norm, eps);
    k = rms_norm(k, block.k_norm, eps);
  }
  q = apply_rotary(q, rotary);
  k = apply_rotary(k, rotary);
  return causal_attention(q, k, v, block.sliding_window);
}

torch::Tensor Decoder::mlp_inputs(const Block& block, const torch::Tensor& h) const {
  return rms_norm(h, block.post_attention_norm, config().rms_norm_eps);
}

torch::Tensor Decoder::mlp_hidden(const Block& block, const torch::Tensor& m) const {
  return silu_mul(block.gate.forward(m), block.up.forward(m));
}

torch::Tensor Decoder::run_block(const Block& block, const torch::Tensor& x,
                                 const RotaryTable& rotary, const SiteObserver& observer) const {
  const auto observe = [&](InputSite site, const torch::Tensor& inputs) {
    if (observer) observer(site, inputs);
    return inputs;
  };
  const torch::Tensor a = observe(InputSite::kAttentionInput, attention_inputs(block, x));
  const torch::Tensor o = observe(InputSite::kAttentionOutput, attention(block, a, rotary));
  const torch::Tensor h = x + block.o.forward(o);
  const torch::Tensor m = observe(InputSite::kMlpInput, mlp_inputs(block, h));
  const torch::Tensor d = observe(InputSite::kMlpDown, mlp_hidden(block, m));
  return h + block.down.forward(d);
}

torch::Tensor Decoder::final_norm(const torch::Tensor& x) const {
  return rms_norm(x, norm_, config().rms_norm_eps);
}

torch::Tensor Decoder::hidden_states(const torch::Tensor& ids) const {
  const RotaryTable table = rotary(ids.size(1));
  torch::Tensor x = embed(ids);
  for (const std::shared_ptr<Block>& block : blocks_) x = run_block(*block, x, table);
  return final_norm(x);
}

}  // namespace bitsmith
