#include "compressor/calibration/text_checks.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace bitsmith {
namespace {

// Expects the token after the present one: predicts n + 1 after n with the given margin.
class CountingModel : public LanguageModel {
 public:
  CountingModel(int64_t vocab, float margin) : vocab_(vocab), margin_(margin) {}
  int64_t vocab_size() const override { return vocab_; }
  void run(std::span<const int32_t> tokens) override {
    window_.assign(tokens.begin(), tokens.end());
    tokens_ += std::ssize(tokens);
  }
  void logits(int64_t first, int64_t count, std::span<float> out) override {
    std::fill(out.begin(), out.end(), 0.0f);
    for (int64_t i = 0; i < count; ++i)
      out[i * vocab_ + (window_[first + i] + 1) % vocab_] = margin_;
  }
  int64_t tokens_ = 0;  // run in all

 private:
  int64_t vocab_;
  float margin_;
  std::vector<int32_t> window_;
};

TokenDataset windows(int64_t count, int64_t length, int64_t step, int64_t vocab) {
  TokenDataset data;
  data.train =
      torch::arange(count * length, torch::kInt64).mul(step).remainder(vocab).view({count, length});
  return data;
}

TEST(FewTokens, NamesBothNumbers) {
  ModelPlan model;
  BlockPlan& block = model.blocks.emplace_back();
  block.attention.inputs.push_back({.name = "q", .out_features = 64, .in_features = 64});
  block.mlp.emplace();
  block.mlp->inputs.push_back({.name = "up", .out_features = 192, .in_features = 64});
  block.mlp->width = 192;
  EXPECT_EQ(few_tokens_warning(192, model), "");
  const std::string warning = few_tokens_warning(191, model);
  EXPECT_NE(warning.find("191 tokens"), std::string::npos) << warning;
  EXPECT_NE(warning.find("192 inputs"), std::string::npos) << warning;
}

TEST(AbsurdText, IsTextThatTheModelDoesNotExpect) {
  CountingModel model(400, 12);
  EXPECT_EQ(absurd_text_warning(model, windows(3, 50, 1, 400), "text"), "");
  EXPECT_EQ(model.tokens_, 100);
  const std::string warning = absurd_text_warning(model, windows(3, 50, 7, 400), "text");
  EXPECT_NE(warning.find("absurd"), std::string::npos);
  EXPECT_NE(warning.find("100 tokens"), std::string::npos) << warning;
  // A model that knows nothing: as bad as chance.
  CountingModel blank(400, 0);
  EXPECT_NE(absurd_text_warning(blank, windows(3, 50, 1, 400), "text"), "");
}

TEST(AbsurdText, CostsLittle) {
  CountingModel model(400, 12);
  absurd_text_warning(model, windows(100, 1000, 1, 400), "text");
  EXPECT_EQ(model.tokens_, 2 * kAbsurdTextTokens);
  EXPECT_EQ(absurd_text_warning(model, TokenDataset(), "text"), "");
}

}  // namespace
}  // namespace bitsmith
