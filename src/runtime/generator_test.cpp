#include "runtime/generator.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"

namespace bitsmith {
namespace {

RuntimeModel load_trained(int threads = 2, DensePrecision precision = DensePrecision::kFast) {
  const std::filesystem::path path =
      std::filesystem::path(BITSMITH_TESTDATA) / "tiny_llama_trained";
  return RuntimeModel(load_weights(*ModelFiles::open(path), precision), threads);
}

const std::vector<int32_t> kPrompt = {0, 40, 70, 300, 45};
const SamplingOptions kGreedy{.temperature = 0};

GenerateResult greedy(RuntimeModel& model, KvCache& cache, const std::vector<int32_t>& prompt,
                      int64_t max_tokens, std::vector<int64_t> end_tokens = {}) {
  Sampler sampler(kGreedy);
  return generate(model, cache, prompt, sampler,
                  {.max_tokens = max_tokens, .end_tokens = std::move(end_tokens)});
}

TEST(Generate, GreedyTextIsTheArgmaxOfEveryWholeWindow) {
  RuntimeModel model = load_trained();
  KvCache cache(model.plan(), 128);
  const auto result = greedy(model, cache, kPrompt, 20);
  ASSERT_EQ(result.tokens.size(), 20u);
  EXPECT_EQ(result.stop_reason, StopReason::kMaxTokens);
  EXPECT_EQ(result.prompt_tokens, 5);
  std::vector<int32_t> text = kPrompt;
  for (const int32_t token : result.tokens) {
    KvCache fresh(model.plan(), 128);
    ASSERT_EQ(greedy(model, fresh, text, 1).tokens[0], token);
    text.push_back(token);
  }
}

TEST(Generate, ThreadsDoNotChangeTheText) {
  RuntimeModel one = load_trained(1), two = load_trained(2), three = load_trained(3);
  std::vector<std::vector<int32_t>> texts;
  for (RuntimeModel* model : {&one, &two, &three}) {
    KvCache cache(model->plan(), 128);
    texts.push_back(greedy(*model, cache, kPrompt, 60).tokens);
  }
  EXPECT_EQ(texts[0], texts[1]);
  EXPECT_EQ(texts[0], texts[2]);
}

TEST(Generate, AnyEndTokenStopsAndIsNotPartOfTheAnswer) {
  RuntimeModel model = load_trained();
  KvCache cache(model.plan(), 128);
  const auto all = greedy(model, cache, kPrompt, 20).tokens;
  size_t first = 1;  // a place whose token has not occurred before
  while (std::find(all.begin(), all.begin() + long(first), all[first]) != all.begin() + long(first))
    ASSERT_LT(++first, all.size());
  const auto result = greedy(model, cache, kPrompt, 20, {383, all[first]});
  EXPECT_EQ(result.stop_reason, StopReason::kEndToken);
  EXPECT_EQ(result.tokens, std::vector<int32_t>(all.begin(), all.begin() + long(first)));
}

TEST(Generate, ContinuingAChatRunsOnlyWhatIsNew) {
  RuntimeModel model = load_trained();
  KvCache cache(model.plan(), 128), fresh(model.plan(), 128);
  std::vector<int32_t> text = kPrompt;
  const auto first = greedy(model, cache, text, 10);
  text.insert(text.end(), first.tokens.begin(), first.tokens.end());
  text.insert(text.end(), {2, 41, 90});
  const auto second = greedy(model, cache, text, 10);
  EXPECT_EQ(second.prompt_tokens, 4);  // the last answer token was never run
  EXPECT_EQ(second.tokens, greedy(model, fresh, text, 10).tokens);
  // Another history: what differs is forgotten.
  text[2] = 100;
  const auto third = greedy(model, cache, text, 10);
  EXPECT_EQ(third.prompt_tokens, std::ssize(text) - 2);
  KvCache another(model.plan(), 128);
  EXPECT_EQ(third.tokens, greedy(model, another, text, 10).tokens);
}

TEST(Generate, FullContextIsSaid) {
  RuntimeModel model = load_trained();
  KvCache cache(model.plan(), 8);
  const auto result = greedy(model, cache, kPrompt, 20);
  EXPECT_EQ(result.stop_reason, StopReason::kContextFull);
  EXPECT_EQ(result.tokens.size(), 4u);  // three more are run, the fourth needs no place
  EXPECT_THROW(greedy(model, cache, std::vector<int32_t>(9, 1), 1), Error);
  EXPECT_EQ(greedy(model, cache, std::vector<int32_t>(8, 1), 5).tokens.size(), 1u);
}

// A model may have more rows than its tokenizer has tokens.
TEST(Generate, IdsOutsideTheTokenizerAreNeverSampled) {
  RuntimeModel model = load_trained();
  for (const double temperature : {0.0, 50.0}) {
    const SamplingOptions sampling{.temperature = temperature, .repetition_penalty = 1.5};
    KvCache cache(model.plan(), 128);
    Sampler sampler(sampling, 3);
    const auto all = generate(model, cache, kPrompt, sampler, {.max_tokens = 100});
    const int64_t largest = *std::ranges::max_element(all.tokens);
    Sampler again(sampling, 3);
    const auto fewer =
        generate(model, cache, kPrompt, again, {.max_tokens = 100, .vocab_size = largest});
    ASSERT_EQ(fewer.tokens.size(), 100u);
    for (const int32_t token : fewer.tokens) EXPECT_LT(token, largest);
  }
  SelfGenerateOptions options;
  options.count = 3;
  options.length = 40;
  options.start = {0};
  options.temperature = 50;
  options.vocab_size = 10;
  for (const auto& sequence : generate_sequences(model, options))
    for (const int32_t token : sequence) EXPECT_LT(token, 10);
}

TEST(Generate, CallbackStops) {
  RuntimeModel model = load_trained();
  KvCache cache(model.plan(), 64);
  Sampler sampler(kGreedy);
  std::vector<int32_t> seen;
  const auto result = generate(model, cache, kPrompt, sampler, {.max_tokens = 20}, [&](int32_t t) {
    seen.push_back(t);
    return seen.size() < 3;
  });
  EXPECT_EQ(result.stop_reason, StopReason::kStopped);
  EXPECT_EQ(seen, result.tokens);
  EXPECT_EQ(seen.size(), 3u);
}

TEST(GenerateSequences, LengthStartSeedAndBatch) {
  RuntimeModel model = load_trained(2, DensePrecision::kExact);
  SelfGenerateOptions options{.count = 5, .length = 20, .seed = 3, .start = {0, 40}, .batch = 5};
  int64_t done = 0;
  const auto sequences = generate_sequences(model, options, [&](int64_t d, int64_t of) {
    EXPECT_GT(d, done);
    EXPECT_EQ(of, 100);
    done = d;
  });
  EXPECT_EQ(done, 100);
  ASSERT_EQ(sequences.size(), 5u);
  for (const auto& s : sequences) {
    EXPECT_EQ(s.size(), 20u);
    EXPECT_EQ(s[0], 0);
    EXPECT_EQ(s[1], 40);
  }
  EXPECT_NE(sequences[0], sequences[1]);
  EXPECT_EQ(generate_sequences(model, options), sequences);
  options.batch = 2;  // other sums in the kernels, the same text
  EXPECT_EQ(generate_sequences(model, options), sequences);
  options.count = 2;
  const auto fewer = generate_sequences(model, options);
  EXPECT_EQ(fewer[1], sequences[1]);
  options.first = 3;  // a part of the same request
  const auto part = generate_sequences(model, options);
  ASSERT_EQ(part.size(), 2u);
  EXPECT_EQ(part[0], sequences[3]);
  EXPECT_EQ(part[1], sequences[4]);
  options.first = 0;
  options.seed = 4;
  EXPECT_NE(generate_sequences(model, options)[0], sequences[0]);
}

}  // namespace
}  // namespace bitsmith
