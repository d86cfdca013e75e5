#include "architecture/model_plan.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "checkpoint/test_files.h"

namespace bitsmith {
namespace {

using testing::error_of;
using testing::small_config;

ModelConfig parse(const Json& config) { return parse_model_config(config, "config.json"); }

// small_config with some keys replaced.
Json with(const std::string& model_type, const Json& changes) {
  Json config = small_config(model_type);
  config.update(changes);
  return config;
}

void expect_config_error(const Json& config, const std::string& part) {
  const std::string message = error_of([&] { parse(config); });
  EXPECT_EQ(message.rfind("config.json", 0), 0u) << message;
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

TEST(ModelConfigTest, FamiliesDifferInBiasesAndNorms) {
  const ModelConfig llama = parse(with("llama", {{"attention_bias", true}, {"mlp_bias", true}}));
  EXPECT_TRUE(llama.qkv_bias && llama.output_bias && llama.mlp_bias && !llama.qk_norm);
  const ModelConfig qwen2 = parse(small_config("qwen2"));
  EXPECT_TRUE(qwen2.qkv_bias && !qwen2.output_bias && !qwen2.mlp_bias && !qwen2.qk_norm);
  const ModelConfig qwen3 = parse(small_config("qwen3"));
  EXPECT_TRUE(!qwen3.qkv_bias && !qwen3.output_bias && qwen3.qk_norm);
  const ModelConfig mistral = parse(with("mistral", {{"attention_bias", true}}));
  EXPECT_TRUE(!mistral.qkv_bias && !mistral.mlp_bias && !mistral.qk_norm);
}

TEST(ModelConfigTest, DefaultsOfTransformers) {
  Json config = small_config("llama");
  for (const char* key : {"head_dim", "num_key_value_heads", "max_position_embeddings",
                          "rms_norm_eps", "rope_theta", "tie_word_embeddings", "eos_token_id"}) {
    config.erase(key);
  }
  const ModelConfig llama = parse(config);
  EXPECT_EQ(llama.head_dim, 8);
  EXPECT_EQ(llama.num_key_value_heads, 4);
  EXPECT_EQ(llama.max_position_embeddings, 2048);
  EXPECT_EQ(llama.rms_norm_eps, 1e-6);
  EXPECT_EQ(llama.rope_theta, 10000.0);
  EXPECT_FALSE(llama.tie_word_embeddings);
  EXPECT_EQ(llama.bos_token_id, 1);
  EXPECT_EQ(llama.eos_token_ids, std::vector<int64_t>{2});
  config["model_type"] = "qwen3";
  config["num_key_value_heads"] = nullptr;
  const ModelConfig qwen3 = parse(config);
  EXPECT_EQ(qwen3.head_dim, 128);
  EXPECT_EQ(qwen3.num_key_value_heads, 4);
  EXPECT_EQ(qwen3.bos_token_id, -1);
  EXPECT_TRUE(qwen3.eos_token_ids.empty());
  config["eos_token_id"] = {7, 9};
  EXPECT_EQ(parse(config).eos_token_ids, (std::vector<int64_t>{7, 9}));
}

TEST(ModelConfigTest, SlidingWindows) {
  using Windows = std::vector<int64_t>;
  EXPECT_EQ(parse(with("llama", {{"sliding_window", 4}})).sliding_window, Windows({0, 0}));
  EXPECT_EQ(parse(with("mistral", {{"sliding_window", 4}})).sliding_window, Windows({4, 4}));
  EXPECT_EQ(parse(with("mistral", {{"sliding_window", nullptr}})).sliding_window, Windows({0, 0}));
  EXPECT_EQ(parse(small_config("mistral")).sliding_window, Windows({4096, 4096}));
  const Json window = {{"sliding_window", 4}, {"max_window_layers", 1}};
  EXPECT_EQ(parse(with("qwen2", window)).sliding_window, Windows({0, 0}));
  Json used = window;
  used["use_sliding_window"] = true;
  EXPECT_EQ(parse(with("qwen2", used)).sliding_window, Windows({0, 4}));
  EXPECT_EQ(parse(with("qwen3", used)).sliding_window, Windows({0, 4}));
  used["layer_types"] = {"sliding_attention", "full_attention"};
  EXPECT_EQ(parse(with("qwen2", used)).sliding_window, Windows({4, 0}));
  used["layer_types"] = {"full_attention"};
  expect_config_error(with("qwen2", used), "layer_types");
  used["layer_types"] = {"full_attention", "linear_attention"};
  expect_config_error(with("qwen3", used), "linear_attention");

  const Json mixed = {{"sliding_window", 4},
                      {"layer_types", {"full_attention", "sliding_attention"}}};
  EXPECT_EQ(parse(with("mistral", mixed)).sliding_window, Windows({0, 4}));
  Json no_window = mixed;
  no_window["sliding_window"] = nullptr;
  expect_config_error(with("mistral", no_window), "needs a sliding_window");
  expect_config_error(with("llama", mixed), "'sliding_attention' of layer 1 is not supported");
  const Json full = {{"layer_types", {"full_attention", "full_attention"}}};
  EXPECT_EQ(parse(with("llama", full)).sliding_window, Windows({0, 0}));
  EXPECT_EQ(parse(with("mistral", full)).sliding_window, Windows({0, 0}));
}

TEST(ModelConfigTest, RopeSettingsInBothSpellings) {
  const Json scaling = {{"factor", 8.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 8192}};
  Json old_way = scaling, new_way = scaling;
  old_way["type"] = "llama3";
  new_way["rope_type"] = "llama3";
  new_way["rope_theta"] = 500000;
  Json bare = small_config("llama");
  bare.erase("rope_theta");
  bare["rope_parameters"] = new_way;
  const auto old_config =
      parse(with("llama", {{"rope_theta", 500000.0}, {"rope_scaling", old_way}}));
  const auto new_config = parse(bare);
  for (const ModelConfig& config : {old_config, new_config}) {
    EXPECT_EQ(config.rope_theta, 500000.0);
    EXPECT_EQ(config.rope_scaling.type, RopeScaling::Type::kLlama3);
    EXPECT_EQ(config.rope_scaling.factor, 8.0);
    EXPECT_EQ(config.rope_scaling.original_max_position_embeddings, 8192);
  }
  const auto plain =
      parse(with("llama", {{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 5e5}}}}));
  EXPECT_EQ(plain.rope_scaling.type, RopeScaling::Type::kNone);
  EXPECT_EQ(plain.rope_theta, 5e5);
  const auto dynamic =
      parse(with("llama", {{"rope_scaling", {{"type", "dynamic"}, {"factor", 2}}}}));
  EXPECT_EQ(dynamic.rope_scaling.type, RopeScaling::Type::kDynamic);
  EXPECT_EQ(dynamic.rope_scaling.original_max_position_embeddings, 64);
  const auto rope = [](const Json& value) { return with("llama", {{"rope_scaling", value}}); };
  expect_config_error(rope({{"rope_type", "yarn"}, {"factor", 2}}), "'yarn' is not supported");
  expect_config_error(rope({{"rope_type", "longrope"}}), "'longrope' is not supported");
  expect_config_error(rope({{"rope_type", "linear"}}), "'factor' is missing");
  expect_config_error(rope({{"rope_type", "linear"}, {"factor", -1}}), "'factor'");
  expect_config_error(rope("linear"), "not an object");
  expect_config_error(with("llama", {{"partial_rotary_factor", 0.5}}), "partial_rotary_factor");
}

TEST(ModelConfigTest, ImpossibleConfigurationsAreErrors) {
  expect_config_error(Json::array(), "not a JSON object");
  expect_config_error(small_config("bloom"), "'bloom' is not supported");
  for (const char* known : {"Llama", "Qwen2", "Qwen3", "Mistral"}) {
    expect_config_error(small_config("phi3"), known);
  }
  expect_config_error(with("llama", {{"hidden_act", "gelu"}}), "'gelu' is not supported");
  expect_config_error(with("llama", {{"hidden_size", 0}}), "'hidden_size'");
  expect_config_error(with("llama", {{"hidden_size", "32"}}), "'hidden_size'");
  expect_config_error(with("llama", {{"vocab_size", -5}}), "'vocab_size'");
  expect_config_error(with("llama", {{"num_hidden_layers", 1000000000}}), "'num_hidden_layers'");
  expect_config_error(with("llama", {{"num_key_value_heads", 3}}), "evenly");
  expect_config_error(with("llama", {{"head_dim", 7}}), "even");
  expect_config_error(with("llama", {{"head_dim", nullptr}, {"hidden_size", 30}}),
                      "hidden_size 30");
  expect_config_error(with("llama", {{"rms_norm_eps", 0.0}}), "'rms_norm_eps'");
  Json missing = small_config("llama");
  missing.erase("intermediate_size");
  expect_config_error(missing, "'intermediate_size' is missing");
}

TEST(ModelConfigTest, ExpectedTensorsFollowTheConfiguration) {
  const auto names = [](const Json& config) {
    std::map<std::string, std::vector<int64_t>> result;
    for (const auto& [name, shape] : expected_tensors(parse(config))) result[name] = shape;
    return result;
  };
  const auto llama = names(small_config("llama"));
  EXPECT_EQ(llama.size(), 2u * 9 + 3);
  EXPECT_EQ(llama.at("model.layers.1.self_attn.k_proj.weight"), (std::vector<int64_t>{16, 32}));
  EXPECT_EQ(llama.at("model.layers.0.mlp.down_proj.weight"), (std::vector<int64_t>{32, 48}));
  EXPECT_EQ(llama.at("lm_head.weight"), (std::vector<int64_t>{20, 32}));
  EXPECT_EQ(names(with("llama", {{"tie_word_embeddings", true}})).count("lm_head.weight"), 0u);
  const auto qwen2 = names(small_config("qwen2"));
  EXPECT_EQ(qwen2.size(), 2u * 12 + 3);
  EXPECT_EQ(qwen2.at("model.layers.0.self_attn.q_proj.bias"), std::vector<int64_t>{32});
  const auto qwen3 = names(small_config("qwen3"));
  EXPECT_EQ(qwen3.at("model.layers.1.self_attn.q_norm.weight"), std::vector<int64_t>{8});
  for (const LinearShape& linear : block_linears(parse(small_config("llama")), 1)) {
    EXPECT_EQ(llama.at(linear.name + ".weight"),
              (std::vector<int64_t>{linear.out_features, linear.in_features}));
  }
}

TEST(RopeTest, PlainAndLinear) {
  const ModelConfig plain = parse(small_config("llama"));
  const ModelConfig linear =
      parse(with("llama", {{"rope_scaling", {{"type", "linear"}, {"factor", 4.0}}}}));
  const auto a = rope_inverse_frequencies(plain, 10), b = rope_inverse_frequencies(linear, 10);
  ASSERT_EQ(a.size(), 4u);
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_NEAR(a[i], 1 / std::pow(10000.0, static_cast<double>(i) / 4), 1e-15);
    EXPECT_DOUBLE_EQ(b[i], a[i] / 4);
  }
}

TEST(RopeTest, DynamicGrowsOnlyBeyondTheTrainedContext) {
  const ModelConfig plain = parse(small_config("llama"));
  const ModelConfig dynamic =
      parse(with("llama", {{"rope_scaling", {{"type", "dynamic"}, {"factor", 2.0}}}}));
  const auto base = rope_inverse_frequencies(plain, 0);
  EXPECT_EQ(rope_inverse_frequencies(dynamic, 1), base);
  EXPECT_EQ(rope_inverse_frequencies(dynamic, 64), base);
  const auto longer = rope_inverse_frequencies(dynamic, 128);
  EXPECT_DOUBLE_EQ(longer[0], 1.0);
  // At twice the context and factor 2 the base is 3^(8/6) times larger.
  EXPECT_NEAR(longer[3], std::pow(10000.0 * std::pow(3.0, 8.0 / 6), -0.75), 1e-12);
}

TEST(RopeTest, Llama3KeepsShortWavesAndStretchesLongOnes) {
  const ModelConfig plain = parse(with("llama", {{"head_dim", 64}, {"rope_theta", 5e5}}));
  ModelConfig scaled = plain;
  scaled.rope_scaling = {RopeScaling::Type::kLlama3, 8.0, 1.0, 4.0, 8192};
  const auto a = rope_inverse_frequencies(plain, 0), b = rope_inverse_frequencies(scaled, 0);
  int kept = 0, stretched = 0, between = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double wavelength = 2 * std::numbers::pi / a[i];
    const double divisor = a[i] / b[i];
    if (wavelength < 8192 / 4.0) {
      EXPECT_DOUBLE_EQ(divisor, 1.0);
      ++kept;
    } else if (wavelength > 8192) {
      EXPECT_DOUBLE_EQ(divisor, 8.0);
      ++stretched;
    } else {
      EXPECT_GT(divisor, 1.0);
      EXPECT_LT(divisor, 8.0);
      ++between;
    }
  }
  EXPECT_TRUE(kept > 0 && stretched > 0 && between > 0);
}

}  // namespace
}  // namespace bitsmith
