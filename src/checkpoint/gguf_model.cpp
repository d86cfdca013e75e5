// A GGUF model as a Checkpoint: keys become a Hugging Face configuration, tensor names Hugging
// Face's names, and the q/k rows that llama conversion interleaves for ggml's rotary embedding are
// read in their original order. Names and keys: gguf-py's constants.py and tensor_mapping.py;
// permutation: LlamaModel.permute in convert_hf_to_gguf.py.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "checkpoint/gguf.h"
#include "checkpoint/readers.h"

namespace bitsmith {
namespace {

struct NamePair {
  const char *gguf, *hugging_face;
};
constexpr NamePair kBlockNames[] = {
    {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"}, {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};
constexpr NamePair kTopNames[] = {
    {"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}};
constexpr const char* kRopeFactors = "rope_freqs.weight";

// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight"; empty when unknown.
std::string hugging_face_name(const std::string& name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos) return "";
  const std::string kind = name.substr(dot), stem = name.substr(0, dot);
  if (kind != ".weight" && kind != ".bias") return "";
  for (const NamePair& pair : kTopNames) {
    if (stem == pair.gguf) return pair.hugging_face + kind;
  }
  if (!stem.starts_with("blk.")) return "";
  const size_t end = stem.find('.', 4);
  if (end == std::string::npos) return "";
  const std::string layer = stem.substr(4, end - 4);
  if (layer.empty() || layer.find_first_not_of("0123456789") != std::string::npos) return "";
  for (const NamePair& pair : kBlockNames) {
    if (stem.substr(end + 1) == pair.gguf) {
      return "model.layers." + layer + "." + pair.hugging_face + kind;
    }
  }
  return "";
}

// The shortest decimal that is this float: 1e-5, where the float's own value is 9.99999975e-06.
double shortest_decimal(double value) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof(text), static_cast<float>(value)).ptr;
  double result = value;
  std::from_chars(text, end, result);
  return result;
}

// Keys "llama.NAME" of a file whose general.architecture is llama.
class Keys {
 public:
  Keys(const GgufFile& gguf, const std::string& source) : keys_(gguf.keys), source_(source) {
    architecture_ = json_get<std::string>(keys_, "general.architecture", source);
  }
  const std::string& architecture() const { return architecture_; }
  bool has(const std::string& name) const { return keys_.contains(full(name)); }
  template <typename T>
  T get(const std::string& name) const {
    return json_get<T>(keys_, full(name), source_);
  }
  template <typename T>
  T get_or(const std::string& name, T fallback) const {
    return json_get_or<T>(keys_, full(name), fallback, source_);
  }
  double real(const std::string& name) const { return shortest_decimal(get<double>(name)); }
  int64_t token(const char* which) const {
    return json_get_or<int64_t>(keys_, concat("tokenizer.ggml.", which, "_token_id"), -1, source_);
  }

 private:
  std::string full(const std::string& name) const { return architecture_ + "." + name; }
  const Json& keys_;
  const std::string& source_;
  std::string architecture_;
};

class GgufCheckpoint : public Checkpoint {
 public:
  explicit GgufCheckpoint(const std::filesystem::path& path);
  const GgufFile* gguf() const override { return &gguf_; }

 protected:
  int64_t stored_row(const TensorView& tensor, int64_t row) const override;

 private:
  bool is_interleaved(const TensorView& tensor) const;
  Json make_config(const Keys& keys) const;
  Json rope_scaling(const Keys& keys, const Json& config) const;
  Json llama3_scaling(const Keys& keys, const Json& config) const;

  std::string source_;
  bool llama_conversion_ = false;  // which interleaves the rows of q and k
  const TensorView* rope_factors_ = nullptr;
  GgufFile gguf_;
};

GgufCheckpoint::GgufCheckpoint(const std::filesystem::path& path) : source_(path.string()) {
  path_ = path;
  is_gguf_ = true;
  gguf_ = open_gguf(path);
  files_.push_back(gguf_.file);
  file_bytes_ = gguf_.file->bytes().size();
  const Keys keys(gguf_, source_);
  if (json_get_or<int64_t>(gguf_.keys, "split.count", 1, source_) > 1) {
    throw Error(source_ +
                ": one part of a split GGUF model; join the parts first "
                "(llama-gguf-split --merge)");
  }
  const std::string& architecture = keys.architecture();
  const bool experts = keys.get_or<int64_t>("expert_count", 0) > 0;
  llama_conversion_ = architecture == "llama";
  if (experts || !(llama_conversion_ || architecture == "qwen2" || architecture == "qwen3")) {
    throw Error(concat(source_, ": the architecture '", excerpt(architecture),
                       experts ? "' with experts" : "'",
                       " is not supported; Bitsmith knows Llama, Qwen2, Qwen3 and Mistral"));
  }
  for (const TensorView& tensor : gguf_.tensors) {
    if (tensor.name == kRopeFactors) {
      rope_factors_ = &tensor;
      continue;
    }
    tensors_.push_back(tensor);
    tensors_.back().name = hugging_face_name(tensor.name);
    if (tensors_.back().name.empty()) {
      throw Error(concat(source_, ": the tensor '", excerpt(tensor.name), "' is not part of a ",
                         keys.architecture(), " model that Bitsmith knows"));
    }
  }
  build_index();
  config_json_ = make_config(keys);
  config_ = parse_model_config(config_json_, source_);
  for (const TensorView& tensor : tensors_) {  // stored_row() must stay inside the tensor
    const int64_t rows = tensor.shape.empty() ? 1 : tensor.shape.front();
    if (is_interleaved(tensor) && (rows % config_.head_dim != 0 || tensor.shape.size() > 2)) {
      throw Error(concat(source_, ": tensor '", excerpt(tensor.name), "' has the shape ",
                         shape_string(tensor.shape), ", expected rows for whole heads of ",
                         config_.head_dim));
    }
  }
}

// What config.json of the same model would say. Sizes come from the keys; what keys leave out
// (vocabulary, biases, a tied head) comes from the tensors.
Json GgufCheckpoint::make_config(const Keys& keys) const {
  const TensorView& embedding = at("model.embed_tokens.weight");
  const auto heads = keys.get<int64_t>("attention.head_count");
  const auto hidden = keys.get<int64_t>("embedding_length");
  if (heads < 1 || embedding.shape.size() != 2) {
    throw Error(concat(source_, ": impossible sizes: ", heads, " attention heads, an embedding of ",
                       shape_string(embedding.shape)));
  }
  // GGUF calls Mistral llama; its window tells them apart where it matters.
  const auto window = keys.get_or<int64_t>("attention.sliding_window", 0);
  const std::string type =
      keys.architecture() == "llama" && window > 0 ? "mistral" : keys.architecture();
  Json config;
  config["architectures"] = {type == "llama"     ? "LlamaForCausalLM"
                             : type == "mistral" ? "MistralForCausalLM"
                             : type == "qwen2"   ? "Qwen2ForCausalLM"
                                                 : "Qwen3ForCausalLM"};
  config["model_type"] = type;
  config["hidden_size"] = hidden;
  config["intermediate_size"] = keys.get<int64_t>("feed_forward_length");
  config["num_hidden_layers"] = keys.get<int64_t>("block_count");
  config["num_attention_heads"] = heads;
  config["num_key_value_heads"] = keys.get_or<int64_t>("attention.head_count_kv", heads);
  const auto head_dim = keys.get_or<int64_t>("attention.key_length", hidden / heads);
  config["head_dim"] = head_dim;
  for (const char* other : {"attention.value_length", "rope.dimension_count"}) {
    if (keys.get_or<int64_t>(other, head_dim) != head_dim) {
      throw Error(concat(source_, ": '", other, "' is ", keys.get<int64_t>(other),
                         ", but heads have ", head_dim, " values; only equal sizes are supported"));
    }
  }
  config["hidden_act"] = "silu";
  config["rms_norm_eps"] = keys.real("attention.layer_norm_rms_epsilon");
  config["rope_theta"] = keys.has("rope.freq_base") ? keys.real("rope.freq_base") : 10000.0;
  config["max_position_embeddings"] = keys.get<int64_t>("context_length");
  config["vocab_size"] = embedding.shape[0];
  config["tie_word_embeddings"] = find("lm_head.weight") == nullptr;
  config["torch_dtype"] = "float32";
  const bool qkv_bias = find("model.layers.0.self_attn.q_proj.bias") != nullptr;
  if (type != "qwen2") config["attention_bias"] = qkv_bias;
  if (type == "llama") config["mlp_bias"] = find("model.layers.0.mlp.up_proj.bias") != nullptr;
  if (type == "mistral") config["sliding_window"] = window;
  if (const Json scaling = rope_scaling(keys, config); !scaling.is_null()) {
    config["rope_scaling"] = scaling;
  }

  const int64_t bos = keys.token("bos");
  config["bos_token_id"] = bos >= 0 ? Json(bos) : Json();
  Json ends = Json::array();
  for (const char* which : {"eos", "eot"}) {
    const int64_t id = keys.token(which);
    if (id >= 0 && std::find(ends.begin(), ends.end(), Json(id)) == ends.end()) ends.push_back(id);
  }
  config["eos_token_id"] = ends.empty() ? Json() : ends.size() == 1 ? ends[0] : ends;
  return config;
}

Json GgufCheckpoint::rope_scaling(const Keys& keys, const Json& config) const {
  if (rope_factors_ != nullptr) return llama3_scaling(keys, config);
  const auto type = keys.get_or<std::string>("rope.scaling.type", "none");
  if (type == "linear") {
    return {{"rope_type", "linear"}, {"factor", keys.real("rope.scaling.factor")}};
  }
  if (type != "none") {
    throw Error(concat(source_, ": the rope scaling '", excerpt(type),
                       "' is not supported; Bitsmith knows linear and llama3"));
  }
  if (keys.has("rope.scale_linear")) {  // before 2023-11 this was the only key
    return {{"rope_type", "linear"}, {"factor", keys.real("rope.scale_linear")}};
  }
  return nullptr;
}

// GGUF keeps of llama3 scaling only the divisors of the frequencies. The settings behind them are
// found by trying: `factor` is the largest divisor, the frequency bounds are 1 and 4 in every model
// of the family, and the trained context is a power of two.
Json GgufCheckpoint::llama3_scaling(const Keys& keys, const Json& config) const {
  ModelConfig model = parse_model_config(config, source_);
  const auto plain = rope_inverse_frequencies(model, 0);
  std::vector<float> divisors(plain.size());
  if (element_count(rope_factors_->shape) != static_cast<int64_t>(divisors.size()) ||
      rope_factors_->dtype != DType::F32) {
    throw Error(concat(source_, ": '", kRopeFactors, "' is ", dtype_name(rope_factors_->dtype), " ",
                       shape_string(rope_factors_->shape), ", expected F32 [", divisors.size(),
                       "]"));
  }
  decode_to_float(DType::F32, rope_factors_->bytes, divisors);
  const float largest = *std::max_element(divisors.begin(), divisors.end());
  if (std::all_of(divisors.begin(), divisors.end(), [](float d) { return d == 1.0f; })) {
    return nullptr;
  }
  RopeScaling& scaling = model.rope_scaling;
  scaling.type = RopeScaling::Type::kLlama3;
  scaling.factor = shortest_decimal(largest);
  for (int64_t context = 32; context <= (int64_t{1} << 20); context *= 2) {
    scaling.original_max_position_embeddings = context;
    const auto scaled = rope_inverse_frequencies(model, 0);
    bool same = true;
    for (size_t i = 0; i < plain.size(); ++i) {
      same = same && std::abs(plain[i] / scaled[i] / divisors[i] - 1) < 1e-4;
    }
    if (same) {
      return {{"rope_type", "llama3"},
              {"factor", scaling.factor},
              {"low_freq_factor", scaling.low_freq_factor},
              {"high_freq_factor", scaling.high_freq_factor},
              {"original_max_position_embeddings", context}};
    }
  }
  throw Error(concat(source_, ": the rope factors in '", kRopeFactors,
                     "' are not those of llama3 scaling; other kinds are not supported"));
}

bool GgufCheckpoint::is_interleaved(const TensorView& tensor) const {
  return llama_conversion_ && (tensor.name.find("self_attn.q_proj.") != std::string::npos ||
                               tensor.name.find("self_attn.k_proj.") != std::string::npos);
}

// Within each head of such a tensor the file holds row 2 i + j where Hugging Face has j * half + i,
// j = 0, 1: ggml rotates neighboring rows, Hugging Face rows half a head apart.
int64_t GgufCheckpoint::stored_row(const TensorView& tensor, int64_t row) const {
  if (!is_interleaved(tensor)) return row;
  const int64_t half = config_.head_dim / 2;
  const int64_t head = row / config_.head_dim, inside = row % config_.head_dim;
  return head * config_.head_dim + 2 * (inside % half) + inside / half;
}

}  // namespace

std::shared_ptr<const Checkpoint> open_gguf_model(const std::filesystem::path& path) {
  return std::make_shared<GgufCheckpoint>(path);
}

}  // namespace bitsmith
