// What a decoder-only model is, from config.json (Hugging Face) or from GGUF keys.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"

namespace bitsmith {

enum class Architecture { kLlama, kQwen2, kQwen3, kMistral };

struct RopeScaling {
  enum class Type { kNone, kLinear, kDynamic, kLlama3 };
  Type type = Type::kNone;
  double factor = 1.0;
  // llama3 only
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  // llama3: the trained context; dynamic: the context from which the base grows (else
  // max_position_embeddings)
  int64_t original_max_position_embeddings = 0;
};

struct ModelConfig {
  Architecture architecture = Architecture::kLlama;
  std::string model_type;  // as in config.json: "llama", "qwen2", "qwen3", "mistral"
  int64_t vocab_size = 0;  // rows of the embedding
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  bool tie_word_embeddings = false;
  bool qkv_bias = false;     // q, k, v carry a bias (Qwen2; llama's attention_bias)
  bool output_bias = false;  // o_proj carries one too (llama's attention_bias)
  bool mlp_bias = false;
  bool qk_norm = false;  // RMS norm of each head's q and k before rope (Qwen3)
  // A query at position p sees keys p - sliding_window + 1 .. p; 0: all. Per layer (layer_types,
  // Qwen's max_window_layers).
  std::vector<int64_t> sliding_window;  // [num_hidden_layers]
  int64_t bos_token_id = -1;            // -1: none
  std::vector<int64_t>
      eos_token_ids;  // of config.json and generation_config.json together; may be several

  int64_t q_size() const { return num_attention_heads * head_dim; }
  int64_t kv_size() const { return num_key_value_heads * head_dim; }
};

// Reads config.json's content; `source` names it in errors. An unknown architecture or activation,
// or impossible sizes, throw Error with what is supported.
ModelConfig parse_model_config(const Json& config, const std::string& source);
// A key that holds one id, several, or none (absent or null).
std::vector<int64_t> token_ids(const Json& config, const std::string& key,
                               const std::string& source);

// inv_freq [head_dim / 2] in float64 for a sequence of `length` positions (only `dynamic` depends
// on it). Hugging Face's modeling_rope_utils: angle of pair (i, i + head_dim / 2) at position p is
// p * inv_freq[i].
std::vector<double> rope_inverse_frequencies(const ModelConfig& config, int64_t length);

// The linears of a block, and norms and biases, by their Hugging Face names. Used by every
// reader and writer of a model, so that one list of tensors exists.
struct LinearShape {
  std::string name;  // "model.layers.3.self_attn.q_proj"
  int64_t out_features;
  int64_t in_features;
  bool bias;
};
// q, k, v, o, gate, up, down of block number `block_index`, in this order.
std::vector<LinearShape> block_linears(const ModelConfig& config, int64_t block_index);
// Names and shapes of every tensor that the dense model must have (no lm_head when tied).
std::vector<std::pair<std::string, std::vector<int64_t>>> expected_tensors(
    const ModelConfig& config);

}  // namespace bitsmith
