// A quantized checkpoint on disk, opened by the runtime, against the dense model that it stands
// for.
#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "checkpoint/safetensors.h"
#include "format/random_tensor.h"
#include "runtime/model.h"
#include "runtime/runtime_language_model.h"
#include "runtime/weights.h"

namespace bitsmith {
namespace {

const std::filesystem::path kBase = std::filesystem::path(BITSMITH_TESTDATA) / "tiny_llama_trained";

// Both forms of one model: every linear in a representation, and its decoded float32 copy.
class TwoForms {
 public:
  TwoForms(const std::string& representation, const std::string& embedding)
      : folder_(std::filesystem::path(::testing::TempDir()) /
                ("bitsmith_two_forms_" + representation)) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(quantized());
    std::filesystem::create_directories(dense());
    const auto base = Checkpoint::open(kBase);
    for (const BlockPlan& block : base->plan().blocks) {
      for (const LinearPlan* linear : linears(block))
        add(linear->name, representation, linear->out_features, linear->in_features);
    }
    add("model.embed_tokens", embedding, base->plan().vocab_size, base->plan().hidden_size);
    for (const TensorView& tensor : base->tensors()) {
      const std::string module = tensor.name.substr(0, tensor.name.rfind('.'));
      if (content_.specs.contains(module)) continue;
      content_.tensors.push_back(tensor);
      dense_tensors_.push_back(tensor);
    }
    content_.recipe = OrderedJson::object();
    write_quantized_checkpoint(quantized(), *base, content_);
    write_safetensors(dense() / "model.safetensors", dense_tensors_);
    std::filesystem::copy_file(kBase / "config.json", dense() / "config.json");
  }
  ~TwoForms() { std::filesystem::remove_all(folder_); }

  std::filesystem::path quantized() const { return folder_ / "quantized"; }
  std::filesystem::path dense() const { return folder_ / "dense"; }

 private:
  void add(const std::string& module, const std::string& representation, int64_t out_features,
           int64_t in_features) {
    const RepresentationSpec spec = parse_representation(representation);
    QuantizedTensor& tensor = *quantized_.emplace_back(std::make_unique<QuantizedTensor>(
        random_tensor(spec, out_features, in_features, random_, 0.1)));
    content_.specs.emplace(module, spec);
    for (TensorView part : tensor.parts) {
      part.name = module + "." + part.name;
      content_.tensors.push_back(part);
    }
    auto& values = *values_.emplace_back(
        std::make_unique<std::vector<float>>(static_cast<size_t>(out_features * in_features)));
    decode_rows(tensor, 0, out_features, values);
    dense_tensors_.push_back({module + ".weight",
                              DType::F32,
                              {out_features, in_features},
                              std::as_bytes(std::span<const float>(values))});
  }

  std::filesystem::path folder_;
  Random random_{11};
  QuantizedCheckpointContent content_;
  std::vector<TensorView> dense_tensors_;
  std::vector<std::unique_ptr<QuantizedTensor>> quantized_;
  std::vector<std::unique_ptr<std::vector<float>>> values_;
};

std::vector<float> all_logits(const std::filesystem::path& path,
                              const std::vector<int32_t>& tokens) {
  const auto model = load_runtime_language_model(path, {.threads = 2});
  model->run(tokens);
  std::vector<float> logits(tokens.size() * static_cast<size_t>(model->vocab_size()));
  model->logits(0, static_cast<int64_t>(tokens.size()), logits);
  return logits;
}

TEST(QuantizedModel, LogitsAreThoseOfTheDecodedWeights) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < 40; ++i) tokens.push_back(i * 31 % 384);
  for (const auto& [representation, embedding] : {std::pair{"int4g16", "int8g64"},
                                                  {"int2g0-z", "int4g16"},
                                                  {"aq2x8g8", "int8g0"},
                                                  {"had:int4g16", "int8g0"},
                                                  {"had:e8p", "e8p4"},
                                                  {"int4g16", "int4g32+rows3"},
                                                  {"int4g16", "gvq2d2b-n512+rows1"},
                                                  {"int4g16", "aq2x8g8"},
                                                  {"int4g16", "had-in:int4g16+out1%"}}) {
    const TwoForms model(representation, embedding);
    EXPECT_TRUE(ModelFiles::open(model.quantized())->is_quantized());
    const auto actual = all_logits(model.quantized(), tokens);
    const auto expected = all_logits(model.dense(), tokens);
    ASSERT_EQ(actual.size(), expected.size());
    double error = 0, norm = 0;
    for (size_t i = 0; i < actual.size(); ++i) {
      error += std::pow(double(actual[i]) - expected[i], 2);
      norm += std::pow(double(expected[i]), 2);
    }
    // Many tokens at once run on decoded float32 weights: only sums differ.
    EXPECT_LT(std::sqrt(error / norm), 1e-4) << representation;
  }
}

// A head of additive codes makes no keys and values.
TEST(QuantizedModel, AnswersThatAreAsPrompts) {
  const ModelPlan plan = Checkpoint::open(kBase)->plan();
  const auto same = [&](const char* blocks, const char* outer, Products prompts, Products answers) {
    return RuntimeModel(
               random_weights(plan, parse_representation(blocks), parse_representation(outer), 1),
               1, prompts)
        .same_as_prompts(answers);
  };
  using enum Products;
  EXPECT_TRUE(same("int4g16", "aq2x8g8", kInt8, kShared));
  EXPECT_FALSE(same("aq2x8g8", "int4g16", kInt8, kShared));
  EXPECT_FALSE(same("int4g16", "int4g16", kInt8, kSingle));
  EXPECT_FALSE(same("int4g16", "int4g16", kExact, kShared));
  EXPECT_TRUE(same("aq2x8g8", "aq2x8g8", kExact, kExact));
}

}  // namespace
}  // namespace bitsmith
