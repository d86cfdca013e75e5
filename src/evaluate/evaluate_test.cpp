#include "evaluate/evaluate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/random.h"

namespace bitsmith {
namespace {

// A model whose next-token logits depend on the present token and its position in the window.
class ToyModel : public LanguageModel {
 public:
  ToyModel(int64_t vocab, double spread, uint64_t seed) : vocab_(vocab), table_(vocab * vocab) {
    Random random(seed);
    for (float& value : table_) value = static_cast<float>(spread * random.normal());
  }
  int64_t vocab_size() const override { return vocab_; }
  void run(std::span<const int32_t> tokens) override {
    window_.assign(tokens.begin(), tokens.end());
  }
  void logits(int64_t first, int64_t count, std::span<float> out) override {
    ASSERT_EQ(static_cast<int64_t>(out.size()), count * vocab_);
    for (int64_t i = 0; i < count * vocab_; ++i) {
      const int64_t position = first + i / vocab_;
      out[i] = logit(position, i % vocab_);
    }
  }
  float logit(int64_t position, int64_t token) const {
    const int64_t now = window_.at(static_cast<size_t>(position));
    return table_[now * vocab_ + token] * (1 + 0.01f * static_cast<float>(position));
  }
  std::vector<double> log_probabilities(int64_t position) const {
    std::vector<double> result;
    double sum = 0;
    for (int64_t i = 0; i < vocab_; ++i) sum += std::exp(double{logit(position, i)});
    for (int64_t i = 0; i < vocab_; ++i) result.push_back(logit(position, i) - std::log(sum));
    return result;
  }
  std::vector<float>& table() { return table_; }

 private:
  int64_t vocab_;
  std::vector<float> table_;
  std::vector<int32_t> window_;
};

std::vector<int32_t> random_tokens(size_t count, uint32_t vocab, uint64_t seed) {
  Random random(seed);
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random.below(vocab));
  return tokens;
}

TEST(Evaluate, UniformModelHasThePerplexityOfItsVocabulary) {
  ToyModel model(50, 0, 1);
  const auto result = evaluate(model, nullptr, random_tokens(1000, 50, 2), {.context = 100});
  EXPECT_NEAR(result.perplexity, 50, 1e-4);
  EXPECT_NEAR(result.perplexity_error, 0, 1e-6);
  EXPECT_EQ(result.windows, 10);
  EXPECT_EQ(result.tokens, 990);
}

TEST(Evaluate, AgreesWithTheDefinitions) {
  constexpr int64_t kVocab = 37, kContext = 23, kWindows = 9;
  ToyModel model(kVocab, 2, 3), teacher(kVocab, 2, 4);
  const auto tokens = random_tokens(kContext * kWindows + 5, kVocab, 5);
  std::vector<double> window_loss, kls;
  double same = 0, sum = 0;
  for (int64_t w = 0; w < kWindows; ++w) {
    const auto window = std::span(tokens).subspan(w * kContext, kContext);
    model.run(window);
    teacher.run(window);
    double loss = 0;
    for (int64_t i = 0; i + 1 < kContext; ++i) {
      const auto q = model.log_probabilities(i), p = teacher.log_probabilities(i);
      loss -= q[static_cast<size_t>(window[i + 1])];
      double kl = 0;
      for (size_t k = 0; k < q.size(); ++k) kl += std::exp(p[k]) * (p[k] - q[k]);
      kls.push_back(kl);
      same += std::ranges::max_element(p) - p.begin() == std::ranges::max_element(q) - q.begin();
    }
    window_loss.push_back(loss / (kContext - 1));
    sum += window_loss.back();
  }
  const double mean = sum / kWindows;
  double squares = 0, kl_sum = 0;
  for (const double loss : window_loss) squares += (loss - mean) * (loss - mean);
  for (const double kl : kls) kl_sum += kl;
  std::ranges::sort(kls);

  for (const int64_t chunk : {1, 7, 128}) {
    for (const int threads : {1, 3}) {
      const auto result = evaluate(model, &teacher, tokens, {.context = kContext, .chunk = chunk},
                                   {.threads = threads});
      EXPECT_NEAR(result.perplexity, std::exp(mean), 1e-5 * std::exp(mean));
      EXPECT_NEAR(result.perplexity_error,
                  std::exp(mean) * std::sqrt(squares / (kWindows - 1) / kWindows), 1e-4);
      EXPECT_NEAR(result.kl, kl_sum / static_cast<double>(kls.size()), 1e-5);
      EXPECT_NEAR(result.kl_p99, kls[static_cast<size_t>(std::ceil(0.99 * kls.size())) - 1], 1e-4);
      EXPECT_NEAR(result.top1, same / static_cast<double>(kls.size()), 1e-12);
      EXPECT_GT(result.kl_error, 0);
    }
  }
}

TEST(Evaluate, ResultsDoNotDependOnChunksAndThreads) {
  ToyModel model(300, 3, 6), teacher(300, 3, 7);
  const auto tokens = random_tokens(500, 300, 8);
  const auto one = evaluate(model, &teacher, tokens, {.context = 90});
  const auto other =
      evaluate(model, &teacher, tokens, {.context = 90, .chunk = 11}, {.threads = 4});
  EXPECT_EQ(one.perplexity, other.perplexity);
  EXPECT_EQ(one.kl, other.kl);
  EXPECT_EQ(one.kl_p99, other.kl_p99);
  EXPECT_EQ(one.teacher_perplexity, other.teacher_perplexity);
  EXPECT_EQ(one.teacher_perplexity, evaluate(teacher, nullptr, tokens, {.context = 90}).perplexity);
}

TEST(Evaluate, AModelAgreesWithItself) {
  ToyModel model(100, 3, 9), twin(100, 3, 9);
  const auto result = evaluate(model, &twin, random_tokens(400, 100, 10), {.context = 50});
  EXPECT_EQ(result.kl, 0);
  EXPECT_EQ(result.kl_p99, 0);
  EXPECT_EQ(result.teacher_perplexity, result.perplexity);
  EXPECT_EQ(result.top1, 1);
}

TEST(Evaluate, FirstWindowsAndProgress) {
  ToyModel model(20, 1, 11);
  const auto tokens = random_tokens(200, 20, 12);
  std::vector<int64_t> seen;
  const auto two = evaluate(model, nullptr, tokens, {.context = 40, .windows = 2}, {},
                            [&](int64_t done, int64_t of, double perplexity) {
                              seen.push_back(done);
                              EXPECT_EQ(of, 2);
                              EXPECT_GT(perplexity, 1);
                            });
  EXPECT_EQ(seen, (std::vector<int64_t>{1, 2}));
  const auto same = evaluate(model, nullptr, std::span(tokens).first(80), {.context = 40});
  EXPECT_EQ(two.perplexity, same.perplexity);
  EXPECT_EQ(evaluate(model, nullptr, tokens, {.context = 40, .windows = 99}).windows, 5);
}

TEST(Evaluate, ImpossibleRequestsAreErrors) {
  ToyModel model(20, 1, 13), larger(21, 1, 14);
  const auto tokens = random_tokens(100, 20, 15);
  EXPECT_THROW(evaluate(model, nullptr, tokens, {.context = 101}), UsageError);
  EXPECT_THROW(evaluate(model, nullptr, tokens, {.context = 1}), UsageError);
  EXPECT_THROW(evaluate(model, &larger, tokens, {.context = 50}), Error);
  EXPECT_THROW(evaluate(model, nullptr, std::vector<int32_t>{1, 2, 20, 3}, {.context = 4}), Error);
  EXPECT_THROW(evaluate(model, nullptr, std::vector<int32_t>{1, 2, -1, 3}, {.context = 4}), Error);
  model.table()[0] = std::nanf("");
  EXPECT_THROW(evaluate(model, nullptr, std::vector<int32_t>(50, 0), {.context = 50}), Error);
}

TEST(Evaluate, BosTakesThePlaceOfEachWindowsFirstToken) {
  ToyModel model(20, 1, 16);
  std::vector<int32_t> tokens = random_tokens(200, 20, 17), with_bos = tokens;
  for (size_t i = 0; i < tokens.size(); i += 40) with_bos[i] = 3;
  const auto result = evaluate(model, nullptr, tokens, {.context = 40, .bos = 3});
  EXPECT_EQ(result.perplexity, evaluate(model, nullptr, with_bos, {.context = 40}).perplexity);
  EXPECT_NE(result.perplexity, evaluate(model, nullptr, tokens, {.context = 40}).perplexity);
  EXPECT_EQ(result.tokens, 5 * 39);
  EXPECT_EQ(result.windows, 5);
}

TEST(Evaluate, StopsAfterTheWindowInWhichItWasCancelled) {
  ToyModel model(20, 1, 18);
  CancelFlag cancel;
  int64_t seen = 0;
  try {
    evaluate(model, nullptr, random_tokens(200, 20, 19), {.context = 40}, {.cancel = &cancel},
             [&](int64_t done, int64_t, double) {
               seen = done;
               if (done == 2) cancel.raise();
             });
    FAIL() << "not interrupted";
  } catch (const Interrupted& stopped) {
    EXPECT_NE(std::string(stopped.what()).find("2 of 5 windows"), std::string::npos);
    EXPECT_NE(std::string(stopped.what()).find("same command"), std::string::npos);
  }
  EXPECT_EQ(seen, 2);
}

}  // namespace
}  // namespace bitsmith
