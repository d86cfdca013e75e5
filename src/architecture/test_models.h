// For tests: small random models of Llama's kin, and GGUF files of them.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "architecture/family.h"
#include "base/random.h"
#include "checkpoint/test_files.h"

namespace bitsmith::testing {

// A random float32 model: config.json's content and the tensors by Hugging Face name.
struct TestModel {
  Json config;
  std::map<std::string, std::vector<float>> tensors;
  std::map<std::string, std::vector<int64_t>> shapes;

  std::vector<TensorView> views() const {
    std::vector<TensorView> result;
    for (const auto& [name, values] : tensors) {
      result.push_back({name, DType::F32, shapes.at(name), std::as_bytes(std::span(values))});
    }
    return result;
  }
  void write(const std::filesystem::path& folder, uint64_t max_shard_bytes = 1 << 30) const {
    std::filesystem::create_directories(folder);
    write_json_file(folder / "config.json", config);
    const std::vector<TensorView> tensors = views();
    write_sharded_safetensors(folder, {tensors.begin(), tensors.end()}, max_shard_bytes);
  }
};

// With `changes` to its keys.
inline Json small_config(const std::string& model_type, const Json& changes = Json::object()) {
  Json config = {{"model_type", model_type},
                 {"hidden_size", 32},
                 {"intermediate_size", 48},
                 {"num_hidden_layers", 2},
                 {"num_attention_heads", 4},
                 {"num_key_value_heads", 2},
                 {"head_dim", 8},
                 {"vocab_size", 20},
                 {"max_position_embeddings", 64},
                 {"rms_norm_eps", 1e-5},
                 {"rope_theta", 10000.0},
                 {"tie_word_embeddings", false},
                 {"eos_token_id", 3}};
  config.update(changes);
  return config;
}

inline ModelPlan parse(const Json& config) { return plan_model(config, "config.json"); }

inline TestModel random_model(const Json& config, uint64_t seed = 1) {
  TestModel model;
  model.config = config;
  Random random(seed);
  for (const PlannedTensor& tensor : planned_tensors(plan_model(config, "test"))) {
    std::vector<float> values(static_cast<size_t>(element_count(tensor.shape)));
    for (float& value : values) value = static_cast<float>(random.normal());
    model.tensors[tensor.name] = std::move(values);
    model.shapes[tensor.name] = tensor.shape;
  }
  return model;
}

// The row order of llama.cpp's conversion: w.reshape(heads, 2, half, columns).swapaxes(1, 2).
inline std::vector<float> interleave_heads(const std::vector<float>& values, size_t heads,
                                           size_t head_dim) {
  const size_t half = head_dim / 2, columns = values.size() / (heads * head_dim);
  std::vector<float> result;
  for (size_t head = 0; head < heads; ++head) {
    for (size_t i = 0; i < half; ++i) {
      for (size_t j = 0; j < 2; ++j) {
        const auto row =
            values.begin() + static_cast<ptrdiff_t>((head * head_dim + j * half + i) * columns);
        result.insert(result.end(), row, row + static_cast<ptrdiff_t>(columns));
      }
    }
  }
  return result;
}

// The GGUF keys and tensors of a model that llama.cpp's conversion would make from it.
inline GgufBuilder to_gguf(const TestModel& model) {
  const ModelPlan plan = plan_model(model.config, "test");
  const BlockPlan& block = plan.blocks.front();
  const AttentionPlan& attention = block.attention;
  const std::string type = plan.model_type == "mistral" ? "llama" : plan.model_type;
  GgufBuilder gguf;
  gguf.key("general.architecture", type);
  const auto size = [&](const char* name, int64_t value) {
    gguf.key(type + "." + name, static_cast<uint32_t>(value));
  };
  size("embedding_length", plan.hidden_size);
  size("feed_forward_length", block.mlp->width);
  size("block_count", plan.num_blocks());
  size("attention.head_count", attention.heads);
  size("attention.head_count_kv", attention.kv_heads);
  size("attention.key_length", attention.head_dim);
  size("attention.value_length", attention.head_dim);
  size("context_length", plan.context);
  gguf.key(type + ".attention.layer_norm_rms_epsilon", static_cast<float>(plan.final_norm.eps));
  gguf.key(type + ".rope.freq_base", static_cast<float>(plan.ropes[0].theta));
  if (plan.model_type == "mistral") size("attention.sliding_window", attention.window);
  const std::vector<std::pair<std::string, std::string>> renamed = {
      {"model.embed_tokens", "token_embd"},
      {"model.norm", "output_norm"},
      {"lm_head", "output"},
      {"model.layers", "blk"},
      {"input_layernorm", "attn_norm"},
      {"post_attention_layernorm", "ffn_norm"},
      {"self_attn.q_norm", "attn_q_norm"},
      {"self_attn.k_norm", "attn_k_norm"},
      {"self_attn.q_proj", "attn_q"},
      {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},
      {"self_attn.o_proj", "attn_output"},
      {"mlp.gate_proj", "ffn_gate"},
      {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"}};
  for (const auto& [name, values] : model.tensors) {
    std::string gguf_name = name;
    for (const auto& [from, to] : renamed) {
      const size_t at = gguf_name.find(from);
      if (at != std::string::npos) gguf_name.replace(at, from.size(), to);
    }
    std::vector<float> stored = values;
    const auto head_dim = static_cast<size_t>(attention.head_dim);
    if (type == "llama" && name.find("self_attn.q_proj") != std::string::npos) {
      stored = interleave_heads(values, static_cast<size_t>(attention.heads), head_dim);
    } else if (type == "llama" && name.find("self_attn.k_proj") != std::string::npos) {
      stored = interleave_heads(values, static_cast<size_t>(attention.kv_heads), head_dim);
    }
    gguf.tensor(gguf_name, model.shapes.at(name), stored);
  }
  return gguf;
}

}  // namespace bitsmith::testing
