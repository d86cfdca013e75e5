#include <gtest/gtest.h>

#include "architecture/plan_text.h"
#include "architecture/test_models.h"

namespace bitsmith {
namespace {

using testing::error_of;
using testing::parse;
using testing::rope_text;
using testing::small_config;

void expect_config_error(const Json& config, const std::string& part) {
  const std::string message = error_of([&] { parse(config); });
  EXPECT_EQ(message.rfind("config.json", 0), 0u) << part << ": " << message;
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

std::vector<int64_t> windows(const Json& config) {
  std::vector<int64_t> result;
  for (const BlockPlan& block : parse(config).blocks) result.push_back(block.attention.window);
  return result;
}

TEST(ConfigReaderTest, SlidingWindows) {
  using Windows = std::vector<int64_t>;
  EXPECT_EQ(windows(small_config("llama", {{"sliding_window", 4}})), Windows({0, 0}));
  EXPECT_EQ(windows(small_config("mistral", {{"sliding_window", 4}})), Windows({4, 4}));
  EXPECT_EQ(windows(small_config("mistral", {{"sliding_window", nullptr}})), Windows({0, 0}));
  EXPECT_EQ(windows(small_config("mistral")), Windows({4096, 4096}));
  const Json window = {{"sliding_window", 4}, {"max_window_layers", 1}};
  EXPECT_EQ(windows(small_config("qwen2", window)), Windows({0, 0}));
  Json used = window;
  used["use_sliding_window"] = true;
  EXPECT_EQ(windows(small_config("qwen2", used)), Windows({0, 4}));
  EXPECT_EQ(windows(small_config("qwen3", used)), Windows({0, 4}));
  EXPECT_EQ(windows(small_config("qwen3_moe", used)), Windows({4, 4}));
  EXPECT_EQ(windows(small_config("qwen3_moe", window)), Windows({0, 0}));
  for (const bool use : {false, true}) {
    Json moe = small_config("qwen3_moe", {{"use_sliding_window", use}});
    EXPECT_EQ(windows(moe), use ? Windows({4096, 4096}) : Windows({0, 0}));
    moe["sliding_window"] = nullptr;
    EXPECT_EQ(windows(moe), Windows({0, 0})) << use;
  }
  used["layer_types"] = {"sliding_attention", "full_attention"};
  EXPECT_EQ(windows(small_config("qwen2", used)), Windows({4, 0}));
  EXPECT_EQ(windows(small_config("gemma2", used)), Windows({4, 0}));
  used["layer_types"] = {"full_attention"};
  expect_config_error(small_config("qwen2", used), "layer_types");
  used["layer_types"] = {"full_attention", "linear_attention"};
  expect_config_error(small_config("qwen3", used), "linear_attention");

  const Json mixed = {{"sliding_window", 4},
                      {"layer_types", {"full_attention", "sliding_attention"}}};
  EXPECT_EQ(windows(small_config("mistral", mixed)), Windows({0, 4}));
  EXPECT_EQ(windows(small_config("phi3", mixed)), Windows({0, 4}));
  Json no_window = mixed;
  no_window["sliding_window"] = nullptr;
  expect_config_error(small_config("mistral", no_window), "needs a sliding_window");
  expect_config_error(small_config("llama", mixed),
                      "'sliding_attention' of layer 1 needs a sliding_window");
  const Json full = {{"layer_types", {"full_attention", "full_attention"}}};
  EXPECT_EQ(windows(small_config("llama", full)), Windows({0, 0}));
  EXPECT_EQ(windows(small_config("mistral", full)), Windows({0, 0}));
}

// rope_theta and rope_scaling, and rope_parameters, without those keys of small_config.
Json with_rope(const Json& changes, const char* model_type = "llama") {
  Json config = small_config(model_type);
  config.erase("rope_theta");
  config.update(changes);
  return config;
}

TEST(ConfigReaderTest, RopeSettings) {
  const Json llama3 = {{"rope_type", "llama3"},
                       {"factor", 8.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0},
                       {"original_max_position_embeddings", 8192}};
  Json inside = llama3;
  inside["rope_theta"] = 500000;
  Json longrope = {{"type", "su"}, {"short_factor", {1, 1, 1, 1}}, {"long_factor", {2, 2, 2, 2}}};
  longrope["original_max_position_embeddings"] = 16;
  const struct {
    Json changes;
    const char* text;
  } cases[] = {
      {{{"rope_theta", 500000.0}, {"rope_scaling", llama3}},
       "rope 8 of 500000 llama3 8 from 8192 times 1"},
      {{{"rope_parameters", inside}}, "rope 8 of 500000 llama3 8 from 8192 times 1"},
      {{{"rope_parameters", inside}, {"rope_scaling", llama3}, {"rope_theta", 5e5}},
       "rope 8 of 500000 llama3 8 from 8192 times 1"},
      {{{"rope_scaling", nullptr}}, "rope 8 of 10000"},
      {{{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 5e5}}}}, "rope 8 of 500000"},
      {{{"rope_scaling", {{"type", "dynamic"}, {"factor", 2}}}},
       "rope 8 of 10000 dynamic 2 from 64 times 1"},
      {{{"rope_scaling",
         {{"type", "yarn"}, {"factor", nullptr}, {"original_max_position_embeddings", 16}}},
        {"original_max_position_embeddings", 32}},  // which counts for Phi-3 only
       "rope 8 of 10000 yarn 4 from 16 times 1.13863"},
      {{{"rope_scaling", {{"type", "linear"}, {"factor", 2}}},
        {"rope_parameters", {{"factor", 2.0}, {"rope_theta", 5e5}}}},
       "rope 8 of 500000 linear 2 from 0 times 1"},
      {{{"rope_scaling", {{"type", "yarn"}, {"factor", 2}, {"attention_factor", 3}}}},
       "rope 8 of 10000 yarn 2 from 64 times 3"},
      {{{"rope_scaling", longrope}}, "rope 8 of 10000 longrope 4 from 16 times 1.22474"},
  };
  for (const auto& one : cases)
    EXPECT_EQ(rope_text(parse(with_rope(one.changes)).ropes[0]), one.text) << one.changes;

  // Phi-3 has the trained context beside the settings; what they say does not count.
  Json phi3 = with_rope({{"rope_scaling", longrope}, {"max_position_embeddings", 8192}}, "phi3");
  EXPECT_EQ(parse(phi3).ropes[0].trained_context, 4096);
  phi3["original_max_position_embeddings"] = 64;
  EXPECT_EQ(parse(phi3).ropes[0].trained_context, 64);
  longrope.erase("original_max_position_embeddings");
  EXPECT_EQ(rope_text(parse(with_rope({{"rope_scaling", longrope}})).ropes[0]),
            "rope 8 of 10000 longrope 1 from 64 times 1");
}

TEST(ConfigReaderTest, RotaryShareOfAHead) {
  const auto dims = [](int64_t head_dim, double share) {
    return parse(small_config("phi3", {{"head_dim", head_dim}, {"partial_rotary_factor", share}}))
        .ropes[0]
        .dims;
  };
  EXPECT_EQ(dims(100, 0.58), 58);  // the product is 57.99999999999999
  EXPECT_EQ(dims(10, 0.87), 8);
  EXPECT_EQ(dims(98, 54.0 / 98), 54);
}

TEST(ConfigReaderTest, ContradictionsAndImpossibleRopeSettings) {
  const auto scaling = [](const Json& value) { return with_rope({{"rope_scaling", value}}); };
  expect_config_error(scaling({{"rope_type", "ntk"}, {"factor", 2}}), "'ntk' is not supported");
  expect_config_error(scaling({{"rope_type", "longrope"}}), "'short_factor' is missing");
  expect_config_error(scaling({{"rope_type", "yarn"}, {"original_max_position_embeddings", 0}}),
                      "'original_max_position_embeddings' of the rope settings is 0");
  expect_config_error(scaling({{"rope_type", "longrope"},
                               {"original_max_position_embeddings", 16},
                               {"short_factor", {1, 1, 1, 1}},
                               {"long_factor", {1}}}),
                      "'long_factor' has 1 values for 4 pairs");
  expect_config_error(scaling({{"rope_type", "linear"}}), "'factor' is missing");
  expect_config_error(scaling({{"factor", 4}}), "'rope_type' is missing");
  expect_config_error(scaling({{"rope_type", "linear"}, {"factor", -1}}), "'factor'");
  expect_config_error(scaling({{"rope_type", "yarn"}, {"beta_fast", 0}}), "'beta_fast'");
  expect_config_error(scaling({{"rope_type", "yarn"}, {"rope_theta", 1}}), "'rope_theta' is 1");
  expect_config_error(scaling({{"full_attention", {{"type", "linear"}}}}),
                      "differs between layers");
  expect_config_error(scaling("linear"), "not an object");
  const Json linear = {{"rope_type", "linear"}, {"factor", 2}};
  expect_config_error(with_rope({{"rope_scaling", linear},
                                 {"rope_parameters", {{"rope_type", "dynamic"}, {"factor", 2}}}}),
                      "'rope_type' is \"linear\" in 'rope_scaling' and \"dynamic\" in "
                      "'rope_parameters'");
  expect_config_error(with_rope({{"rope_scaling", linear},
                                 {"rope_parameters", {{"rope_type", "linear"}, {"factor", 4}}}}),
                      "'factor' is 2 in 'rope_scaling' and 4 in 'rope_parameters'");
  expect_config_error(with_rope({{"rope_theta", 5}, {"rope_parameters", {{"rope_theta", 6}}}}),
                      "'rope_theta' is 5 beside the rope settings and 6 in them");
  expect_config_error(with_rope({{"rope_parameters", {{"rope_theta", 5}}}}, "gemma3_text"),
                      "for each type of layer");
  expect_config_error(small_config("llama", {{"partial_rotary_factor", 0.5}}),
                      "partial_rotary_factor");
  for (const char* type : {"full_attention", "sliding_attention"})
    expect_config_error(
        with_rope({{"rope_parameters", {{type, {{"partial_rotary_factor", 0.5}}}}}}, "gemma3_text"),
        "partial_rotary_factor");
  expect_config_error(small_config("phi3", {{"partial_rotary_factor", 0.1}}),
                      "'partial_rotary_factor'");
}

TEST(ConfigReaderTest, ImpossibleConfigurationsAreErrors) {
  expect_config_error(Json::array(), "not a JSON object");
  expect_config_error(Json::object(), "'model_type' is missing");
  for (const char* known : {"'mamba' is not supported", "Llama", "Qwen2", "Mixtral", "GPT-NeoX"})
    expect_config_error(small_config("mamba"), known);
  expect_config_error({{"model_type", "gemma3"}, {"text_config", Json::object()}},
                      "only text models are read, as gemma3_text (Gemma 3 of 270M and 1B)");
  const struct {
    const char* family;
    Json changes;
    const char* message;
  } cases[] = {
      {"llama", {{"hidden_act", "gelu"}}, "'gelu'"},
      {"llama", {{"hidden_act", "mish"}}, "'mish' is not supported"},
      {"llama", {{"hidden_size", 0}}, "'hidden_size'"},
      {"llama", {{"hidden_size", "32"}}, "'hidden_size'"},
      {"llama", {{"hidden_size", 1e99}}, "'hidden_size'"},
      {"llama", {{"vocab_size", -5}}, "'vocab_size'"},
      {"llama", {{"num_hidden_layers", 1000000000}}, "'num_hidden_layers'"},
      {"llama", {{"num_key_value_heads", 3}}, "evenly"},
      {"llama", {{"head_dim", 7}}, "even"},
      {"llama", {{"head_dim", nullptr}, {"hidden_size", 30}}, "hidden_size 30"},
      {"llama", {{"rms_norm_eps", 0.0}}, "'rms_norm_eps'"},
      {"llama", {{"intermediate_size", nullptr}}, "'intermediate_size'"},
      {"llama", {{"tie_word_embeddings", 1}}, "'tie_word_embeddings'"},
      {"llama", {{"eos_token_id", "</s>"}}, "'eos_token_id'"},
      {"llama", {{"hidden_size", 1 << 24}, {"intermediate_size", 1 << 24}}, "weights"},
      {"mixtral", {{"num_local_experts", 1}}, "'num_experts_per_tok'"},
      {"mixtral", {{"num_local_experts", 4096}, {"num_hidden_layers", 100}}, "'num_local_experts'"},
      {"qwen3_moe", {{"num_experts", 1 << 20}}, "'num_experts'"},
      {"qwen3_moe", {{"mlp_only_layers", "all"}}, "'mlp_only_layers'"},
      {"bloom", {{"n_head", 5}}, "5 attention heads"},
      {"bloom", {{"apply_residual_connection_post_layernorm", true}}, "not supported"},
      {"gemma2", {{"sliding_window", 0}}, "'sliding_window'"},
      {"gemma3_text", {{"use_bidirectional_attention", true}}, "'use_bidirectional_attention'"},
      {"gpt2", {{"scale_attn_by_inverse_layer_idx", true}}, "not supported"},
      {"opt", {{"ffn_dim", 8}, {"do_layer_norm_before", false}}, "'do_layer_norm_before' is false"},
      {"opt", {{"ffn_dim", 8}, {"word_embed_proj_dim", 16}}, "'word_embed_proj_dim' is 16"},
      {"gpt_neox", {{"rotary_pct", 2}}, "'rotary_pct' is 2"},
  };
  for (const auto& one : cases)
    expect_config_error(small_config(one.family, one.changes), one.message);
}

}  // namespace
}  // namespace bitsmith
