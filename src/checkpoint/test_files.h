// For tests: folders that vanish, a writer of GGUF files, and small random models to write with it.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "architecture/model_plan.h"
#include "checkpoint/safetensors.h"

namespace bitsmith::testing {

// A folder of this test alone, removed at the end.
class TestFolder {
 public:
  TestFolder() {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    std::string name = concat(info->test_suite_name(), "_", info->name());
    std::replace(name.begin(), name.end(), '/', '_');
    path_ = std::filesystem::temp_directory_path() / concat("bitsmith_", getpid(), "_", name);
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// The message of the Error that `action` must throw.
inline std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return "";
}

inline std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Builds a GGUF file in memory, value by value, as the specification says.
class GgufBuilder {
 public:
  explicit GgufBuilder(uint32_t version = 3) : version_(version) {}

  void key(const std::string& name, const std::string& value) { raw_key(name, 8, string(value)); }
  void key(const std::string& name, uint32_t value) { raw_key(name, 4, number(value)); }
  void key(const std::string& name, float value) { raw_key(name, 6, number(value)); }
  void key(const std::string& name, const std::vector<std::string>& values) {
    std::string all = number(uint32_t{8}) + number(uint64_t{values.size()});
    for (const std::string& value : values) all += string(value);
    raw_key(name, 9, all);
  }
  // `type` and `value` as the file has them.
  void raw_key(const std::string& name, uint32_t type, const std::string& value) {
    keys_ += string(name) + number(type) + value;
    ++key_count_;
  }
  // `shape` is row-major; the file has the fastest dimension first.
  void tensor(const std::string& name, uint32_t ggml_type, std::vector<int64_t> shape,
              const std::string& bytes) {
    data_.resize((data_.size() + 31) / 32 * 32);
    directory_ += string(name) + number(static_cast<uint32_t>(shape.size()));
    std::reverse(shape.begin(), shape.end());
    for (const int64_t size : shape) directory_ += number(static_cast<uint64_t>(size));
    directory_ += number(ggml_type) + number(uint64_t{data_.size()});
    data_ += bytes;
    ++tensor_count_;
  }
  void tensor(const std::string& name, const std::vector<int64_t>& shape,
              const std::vector<float>& values) {
    tensor(name, 0, shape,
           std::string(reinterpret_cast<const char*>(values.data()), 4 * values.size()));
  }

  std::string bytes() const {
    std::string file =
        "GGUF" + number(version_) + number(tensor_count_) + number(key_count_) + keys_ + directory_;
    file.resize((file.size() + 31) / 32 * 32);
    return file + data_;
  }

  template <typename T>
  static std::string number(T value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  static std::string string(const std::string& text) {
    return number(uint64_t{text.size()}) + text;
  }

 private:
  uint32_t version_;
  uint64_t tensor_count_ = 0, key_count_ = 0;
  std::string keys_, directory_, data_;
};

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

inline Json small_config(const std::string& model_type) {
  return {{"model_type", model_type},
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
}

inline TestModel random_model(const Json& config, uint64_t seed = 1) {
  TestModel model;
  model.config = config;
  Random random(seed);
  for (const auto& [name, shape] : expected_tensors(parse_model_config(config, "test"))) {
    std::vector<float> values(static_cast<size_t>(element_count(shape)));
    for (float& value : values) value = static_cast<float>(random.normal());
    model.tensors[name] = std::move(values);
    model.shapes[name] = shape;
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
  const ModelConfig config = parse_model_config(model.config, "test");
  const std::string type = config.model_type == "mistral" ? "llama" : config.model_type;
  GgufBuilder gguf;
  gguf.key("general.architecture", type);
  const auto size = [&](const char* name, int64_t value) {
    gguf.key(type + "." + name, static_cast<uint32_t>(value));
  };
  size("embedding_length", config.hidden_size);
  size("feed_forward_length", config.intermediate_size);
  size("block_count", config.num_hidden_layers);
  size("attention.head_count", config.num_attention_heads);
  size("attention.head_count_kv", config.num_key_value_heads);
  size("attention.key_length", config.head_dim);
  size("attention.value_length", config.head_dim);
  size("context_length", config.max_position_embeddings);
  gguf.key(type + ".attention.layer_norm_rms_epsilon", static_cast<float>(config.rms_norm_eps));
  gguf.key(type + ".rope.freq_base", static_cast<float>(config.rope_theta));
  if (config.model_type == "mistral") size("attention.sliding_window", config.sliding_window[0]);
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
    const auto head_dim = static_cast<size_t>(config.head_dim);
    if (type == "llama" && name.find("self_attn.q_proj") != std::string::npos) {
      stored = interleave_heads(values, static_cast<size_t>(config.num_attention_heads), head_dim);
    } else if (type == "llama" && name.find("self_attn.k_proj") != std::string::npos) {
      stored = interleave_heads(values, static_cast<size_t>(config.num_key_value_heads), head_dim);
    }
    gguf.tensor(gguf_name, model.shapes.at(name), stored);
  }
  return gguf;
}

}  // namespace bitsmith::testing
