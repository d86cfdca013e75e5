// What the engine does with the memory for keys and values.
#include <gtest/gtest.h>

#include <cmath>

#include "architecture/test_models.h"
#include "runtime/test_requests.h"

namespace bitsmith {
namespace {

using testing::greedy, testing::joined, testing::kPrompt, testing::load_model, testing::sampled,
    testing::serve, testing::some_tokens;

TEST(Engine, SharingPrefixesChangesNothing) {
  RuntimeModel model = load_model();
  const auto common = some_tokens(50);
  std::vector<Request> requests;
  for (int i = 0; i < 6; ++i)
    requests.push_back(sampled(joined(common, some_tokens(3 + 9 * i, 11)), 30, 7));
  requests.push_back(sampled(common, 30, 7));
  std::vector<std::vector<RequestResult>> all;
  for (const Reuse reuse : {Reuse::kOff, Reuse::kPrompts, Reuse::kAnswers}) {
    for (const int64_t batch : {1, 3}) {
      Engine engine(model, {.context = 200, .max_batch = batch, .reuse = reuse});
      all.push_back(serve(engine, requests));
      const EngineStats stats = engine.stats();
      EXPECT_EQ(stats.kv_pages_held, 0);
      EXPECT_EQ(stats.shared_tokens > 0, reuse != Reuse::kOff);
    }
  }
  for (const auto& results : all)
    for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(results[i].tokens, all[0][i].tokens);
  EXPECT_EQ(all[2].back().shared_tokens, 48);  // whole pages, and the last token is run
}

TEST(Engine, AGrowingChatReadsOnlyWhatIsNew) {
  RuntimeModel model = load_model();
  Engine engine(model, {.context = 250});
  auto text = some_tokens(40);
  text = joined(text, engine.run(greedy(text, 40)).tokens);
  text = joined(text, {2, 41, 90});
  const RequestResult second = engine.run(greedy(text, 10));
  // Of the 83 tokens the last one of the answer was never run: 79 are there, in 4 whole pages.
  EXPECT_EQ(second.shared_tokens, 64);
  EXPECT_EQ(second.prompt_tokens, 19);
  Engine fresh(model, {.context = 250});
  EXPECT_EQ(second.tokens, fresh.run(greedy(text, 10)).tokens);
  // Another history: what differs is not taken.
  text[20] = 100;
  const RequestResult third = engine.run(greedy(text, 10));
  EXPECT_EQ(third.shared_tokens, 16);
  EXPECT_EQ(third.tokens, fresh.run(greedy(text, 10)).tokens);
}

TEST(Engine, FullContextIsSaid) {
  RuntimeModel model = load_model();
  Engine engine(model, {.context = 8});
  const auto result = engine.run(greedy(kPrompt, 20));
  EXPECT_EQ(result.reason, FinishReason::kContextFull);
  EXPECT_EQ(result.tokens.size(), 4u);  // three more are run, the fourth needs no place
  EXPECT_THROW(engine.submit(greedy(std::vector<int32_t>(9, 1), 1)), RequestError);
  EXPECT_EQ(engine.run(greedy(std::vector<int32_t>(8, 1), 5)).tokens.size(), 1u);
}

TEST(Engine, RefusesWhatCanNeverBe) {
  RuntimeModel model = load_model();
  Engine engine(model, {.context = 100, .kv_pages = 2});
  EXPECT_THROW(engine.submit(greedy({}, 1)), RequestError);
  EXPECT_THROW(engine.submit(greedy({1, 384}, 1)), RequestError);
  EXPECT_THROW(engine.submit(greedy({-1}, 1)), RequestError);
  Request hot = greedy(kPrompt, 1);
  hot.sampling.temperature = -1;
  EXPECT_THROW(engine.submit(hot), UsageError);
  EXPECT_NE(testing::error_of([&] { engine.submit(greedy(kPrompt, 60)); }).find("32"),
            std::string::npos);
  EXPECT_EQ(engine.run(greedy(kPrompt, 28)).tokens.size(), 28u);  // 32 positions
  EXPECT_THROW(engine.submit(greedy(kPrompt, 29)), RequestError);
}

TEST(Engine, LittleMemoryMakesRequestsWait) {
  RuntimeModel model = load_model();
  std::vector<Request> requests;
  for (int i = 0; i < 8; ++i)
    requests.push_back(sampled(some_tokens(10 + 3 * i, 3 + i), 30, static_cast<uint64_t>(i)));
  Engine large(model, {.context = 100, .max_batch = 8}),
      small(model, {.context = 100, .max_batch = 8, .kv_pages = 9});
  const auto expected = serve(large, requests), found = serve(small, requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(found[i].tokens, expected[i].tokens);
    EXPECT_EQ(found[i].reason, FinishReason::kMaxTokens);
  }
}

TEST(Engine, Int8CacheIsNear) {
  RuntimeModel model = load_model();
  const auto tokens = some_tokens(200);
  const auto hidden_of = [&](KvType type) {
    KvCache cache(model.plan(), 200, type);
    std::vector<float> all;
    model.prefill(tokens, cache, [&](std::span<const float> h) {
      all.insert(all.end(), h.begin(), h.end());
      return true;
    });
    return all;
  };
  const auto exact = hidden_of(KvType::kFloat32), coarse = hidden_of(KvType::kInt8);
  double error = 0, norm = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    error += std::pow(double{exact[i]} - coarse[i], 2);
    norm += std::pow(double{exact[i]}, 2);
  }
  EXPECT_GT(error, 0);
  EXPECT_LT(std::sqrt(error / norm), 0.03);
}

}  // namespace
}  // namespace bitsmith
