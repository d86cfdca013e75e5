#include "architecture/gguf_config.h"

#include <gtest/gtest.h>

#include "architecture/checkpoint.h"
#include "checkpoint/gguf.h"
#include "checkpoint/test_files.h"

namespace bitsmith {
namespace {

using testing::error_of;
using testing::GgufBuilder;

// The keys that every file has, but for `without`, and an embedding.
GgufBuilder small_gguf(const std::string& architecture, const std::string& without = "") {
  GgufBuilder gguf;
  gguf.key("general.architecture", architecture);
  const std::pair<const char*, uint32_t> sizes[] = {
      {"embedding_length", 32},    {"feed_forward_length", 48},  {"block_count", 3},
      {"context_length", 64},      {"attention.head_count", 4},  {"attention.sliding_window", 8},
      {"attention.key_length", 8}, {"attention.value_length", 8}};
  for (const auto& [name, value] : sizes)
    if (name != without) gguf.key(architecture + "." + name, value);
  if (without != "attention.layer_norm_rms_epsilon")
    gguf.key(architecture + ".attention.layer_norm_rms_epsilon", 1e-5f);
  gguf.tensor("token_embd.weight", {2, 32}, std::vector<float>(64));
  return gguf;
}

Json config_of(const GgufBuilder& gguf) {
  const std::string bytes = gguf.bytes();
  const GgufFile file = parse_gguf(testing::bytes_of(bytes), "m.gguf");
  const GgufKeys keys(file, "m.gguf");
  return config_from_gguf(keys, family_of_gguf(keys));
}

ModelPlan plan_of(const GgufBuilder& gguf) { return plan_model(config_of(gguf), "m.gguf"); }

void expect_error(const GgufBuilder& gguf, const std::string& part) {
  const std::string message = error_of([&] { plan_of(gguf); });
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

TEST(GgufConfigTest, AFactorWithoutATypeIsLinear) {
  for (const char* key : {"llama.rope.scaling.factor", "llama.rope.scale_linear"}) {
    GgufBuilder gguf = small_gguf("llama");
    gguf.key(key, 4.0f);
    EXPECT_EQ(plan_of(gguf).ropes[0].scaling, RopePlan::Scaling::kLinear) << key;
    EXPECT_EQ(plan_of(gguf).ropes[0].factor, 4.0) << key;
  }
  GgufBuilder none = small_gguf("llama");
  none.key("llama.rope.scaling.factor", 1.0f);
  EXPECT_EQ(plan_of(none).ropes[0].scaling, RopePlan::Scaling::kNone);
  none.key("llama.rope.scaling.attn_factor", 2.0f);
  expect_error(none, "'llama.rope.scaling.attn_factor' is 2; only 1 is supported");
}

TEST(GgufConfigTest, SettingsOfYarn) {
  const auto yarn = [] {
    GgufBuilder gguf = small_gguf("llama");
    gguf.key("llama.rope.scaling.type", std::string("yarn"));
    gguf.key("llama.rope.scaling.factor", 4.0f);
    gguf.key("llama.rope.scaling.original_context_length", 16u);
    return gguf;
  };
  const RopePlan plain = plan_of(yarn()).ropes[0];
  EXPECT_EQ(plain.trained_context, 16);
  EXPECT_EQ(plain.beta_fast, 32);
  GgufBuilder other = yarn();
  other.key("llama.rope.scaling.yarn_beta_fast", 12.0f);
  other.key("llama.rope.scaling.yarn_beta_slow", 0.5f);
  other.key("llama.rope.scaling.attn_factor", 2.0f);
  other.key("llama.rope.scaling.yarn_ext_factor", 1.0f);
  const RopePlan found = plan_of(other).ropes[0];
  EXPECT_EQ(found.beta_fast, 12);
  EXPECT_EQ(found.beta_slow, 0.5);
  EXPECT_DOUBLE_EQ(found.attention_factor, 2 * plain.attention_factor);
  for (const char* name : {"yarn_ext_factor", "yarn_attn_factor", "yarn_log_multiplier"}) {
    GgufBuilder strange = yarn();
    strange.key(std::string("llama.rope.scaling.") + name, 0.5f);
    expect_error(strange, name);
  }
}

TEST(GgufConfigTest, LongRopeIsOfTensors) {
  GgufBuilder gguf = small_gguf("phi3");
  gguf.key("phi3.rope.scaling.type", std::string("longrope"));
  gguf.key("phi3.rope.scaling.original_context_length", 16u);
  expect_error(gguf, "no tensor 'rope_factors_short.weight'");
  gguf.tensor("rope_factors_short.weight", {4}, std::vector<float>(4, 1.0f));
  expect_error(gguf, "no tensor 'rope_factors_long.weight'");
  gguf.tensor("rope_factors_long.weight", {4}, std::vector<float>(4, 2.0f));
  EXPECT_EQ(plan_of(gguf).ropes[0].trained_context, 16);
  EXPECT_EQ(config_of(gguf)["original_max_position_embeddings"], 16);  // where Phi-3 has it
}

TEST(GgufConfigTest, LayersOfGemmaThatSlide) {
  const auto windows = [](const GgufBuilder& gguf) {
    std::vector<int64_t> result;
    for (const BlockPlan& block : plan_of(gguf).blocks) result.push_back(block.attention.window);
    return result;
  };
  const std::string key = "gemma3.attention.sliding_window_pattern";
  using Windows = std::vector<int64_t>;
  EXPECT_EQ(windows(small_gguf("gemma3")), Windows({8, 8, 8}));  // every sixth is global
  EXPECT_EQ(windows(small_gguf("gemma3", "attention.sliding_window")), Windows({0, 0, 0}));
  EXPECT_EQ(windows(small_gguf("gemma2")), Windows({8, 0, 8}));
  GgufBuilder number = small_gguf("gemma3");
  number.key(key, 2u);
  EXPECT_EQ(windows(number), Windows({8, 0, 8}));
  const auto flags = [&](uint32_t type, const std::string& values) {
    GgufBuilder gguf = small_gguf("gemma3");
    gguf.raw_key(key, 9,
                 GgufBuilder::number(type) + GgufBuilder::number(uint64_t{values.size()}) + values);
    return gguf;
  };
  EXPECT_EQ(windows(flags(7, {0, 1, 1})), Windows({0, 8, 8}));
  expect_error(flags(7, {0, 1}), "has 2 values for 3 layers");
  expect_error(flags(0, {0, 1, 1}), "is not all bools");
}

TEST(GgufConfigTest, KeysThatMustBeThereAreNamed) {
  expect_error(small_gguf("llama", "feed_forward_length"),
               "'llama.feed_forward_length' is missing");
  expect_error(small_gguf("gpt2"), "'gpt2.attention.layer_norm_epsilon' is missing");
  const testing::TestFolder folder;
  const auto path = folder.path() / "m.gguf";
  write_file_atomic(path, small_gguf("llama", "attention.layer_norm_rms_epsilon").bytes());
  EXPECT_NE(error_of([&] {
              Checkpoint::open(path);
            }).find("'llama.attention.layer_norm_rms_epsilon' is missing"),
            std::string::npos);
}

}  // namespace
}  // namespace bitsmith
