#include "runtime/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "architecture/test_models.h"

namespace bitsmith {
namespace {

RuntimeModel load_model(const std::string& name = "tiny_llama_trained", int threads = 2) {
  const std::filesystem::path path = std::filesystem::path(BITSMITH_TESTDATA) / name;
  return RuntimeModel(load_weights(*ModelFiles::open(path), DensePrecision::kFast), threads);
}

const std::vector<int32_t> kPrompt = {0, 40, 70, 300, 45};

std::vector<int32_t> some_tokens(int32_t count, int32_t step = 7) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < count; ++i) tokens.push_back((i * step + 3) % 384);
  return tokens;
}

Request greedy(std::vector<int32_t> prompt, int64_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  return request;
}

Request sampled(std::vector<int32_t> prompt, int64_t max_tokens, uint64_t seed) {
  Request request = greedy(std::move(prompt), max_tokens);
  request.sampling.temperature = 1.5;
  request.seed = seed;
  return request;
}

std::vector<int32_t> joined(std::vector<int32_t> a, const std::vector<int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Serves all requests side by side; the results in their order.
std::vector<RequestResult> serve(Engine& engine, std::vector<Request> requests) {
  std::vector<RequestResult> results(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].on_finish = [&results, i](const RequestResult& r) { results[i] = r; };
    engine.submit(std::move(requests[i]));
  }
  while (engine.step()) {
  }
  return results;
}

TEST(Engine, GreedyTextIsTheArgmaxOfEveryWholeWindow) {
  RuntimeModel model = load_model();
  Engine engine(model, {.context = 128, .reuse = Reuse::kOff});
  const RequestResult result = engine.run(greedy(kPrompt, 20));
  ASSERT_EQ(result.tokens.size(), 20u);
  EXPECT_EQ(result.reason, FinishReason::kMaxTokens);
  EXPECT_EQ(result.prompt_tokens, 5);
  std::vector<int32_t> text = kPrompt;
  for (const int32_t token : result.tokens) {
    ASSERT_EQ(engine.run(greedy(text, 1)).tokens[0], token);
    text.push_back(token);
  }
}

TEST(Engine, ThreadsDoNotChangeTheText) {
  RuntimeModel one = load_model("tiny_llama_trained", 1), three = load_model("tiny_llama_trained", 3);
  Engine a(one, {.context = 128}), b(three, {.context = 128});
  EXPECT_EQ(a.run(sampled(kPrompt, 60, 1)).tokens, b.run(sampled(kPrompt, 60, 1)).tokens);
}

TEST(Engine, AnyEndTokenStopsAndIsNotPartOfTheAnswer) {
  RuntimeModel model = load_model();
  Engine engine(model, {.context = 128});
  const auto all = engine.run(greedy(kPrompt, 20)).tokens;
  size_t first = 1;  // a place whose token has not occurred before
  while (std::find(all.begin(), all.begin() + long(first), all[first]) != all.begin() + long(first))
    ASSERT_LT(++first, all.size());
  Request request = greedy(kPrompt, 20);
  request.end_tokens = {383, all[first]};
  std::vector<bool> ends;
  request.on_token = [&](const GeneratedToken& token) {
    ends.push_back(token.ends);
    return true;
  };
  const auto result = engine.run(request);
  EXPECT_EQ(result.reason, FinishReason::kEndToken);
  EXPECT_EQ(result.tokens, std::vector<int32_t>(all.begin(), all.begin() + long(first)));
  ASSERT_EQ(ends.size(), first + 1);
  EXPECT_EQ(std::ranges::count(ends, true), 1);
  EXPECT_TRUE(ends.back());
}

// The promise: text and log-probabilities of a request are the same bits, whatever runs beside it.
TEST(Engine, ARequestDoesNotDependOnWhatRunsBesideIt) {
  for (const char* name : {"tiny_llama_trained", "tiny_mistral", "families/tiny_mixtral",
                           "families/tiny_phi3_longrope", "tiny_llama_dynamic"}) {
    RuntimeModel model = load_model(name);
    for (const Products products : {Products::kSingle, Products::kMany}) {
      std::vector<Request> requests;
      for (int i = 0; i < 7; ++i) {
        requests.push_back(sampled(some_tokens(1 + 13 * i, 5 + i), 25, static_cast<uint64_t>(i)));
        requests.back().likeliest = 3;
      }
      std::vector<std::vector<double>> alone(requests.size()), beside(requests.size());
      const auto with_log = [&](std::vector<std::vector<double>>& logs) {
        std::vector<Request> copies = requests;
        for (size_t i = 0; i < copies.size(); ++i) {
          copies[i].on_token = [&logs, i](const GeneratedToken& token) {
            logs[i].push_back(token.token);
            logs[i].push_back(token.probabilities->chosen.log_probability);
            logs[i].push_back(token.probabilities->likeliest[2].log_probability);
            return true;
          };
        }
        return copies;
      };
      for (const Request& request : with_log(alone)) {
        Engine engine(model, {.context = 200, .products = products});
        engine.run(request);
      }
      for (const int64_t batch : {2, 7}) {
        for (auto& log : beside) log.clear();
        Engine engine(model, {.context = 200, .max_batch = batch, .products = products});
        serve(engine, with_log(beside));
        EXPECT_EQ(beside, alone) << name << " " << batch;
      }
    }
  }
}

TEST(Engine, PromptsComeInPiecesBetweenTheTokensOfOthers) {
  RuntimeModel model = load_model();
  Engine engine(model, {.context = 1000, .max_batch = 2});
  int64_t tokens = 0;
  Request answering = greedy(kPrompt, 200);
  answering.on_token = [&](const GeneratedToken&) { return ++tokens > 0; };
  engine.submit(answering);
  for (int i = 0; i < 5; ++i) engine.step();
  const int64_t before = tokens;
  bool started = false;
  Request reading = greedy(some_tokens(640), 5);
  reading.on_token = [&](const GeneratedToken&) { return started = true; };
  engine.submit(reading);
  while (!started) engine.step();
  EXPECT_EQ(tokens - before, 640 / Engine::kPromptRowsBeside);
  while (engine.step()) {
  }
}

// A short prompt does not wait for a long one.
TEST(Engine, PromptsShareAStep) {
  RuntimeModel model = load_model();
  Engine engine(model, {.context = 4000, .max_batch = 3});
  engine.submit(greedy(some_tokens(3000), 2));
  int64_t short_ones = 0;
  for (int i = 0; i < 2; ++i) {
    Request request = greedy(some_tokens(50, 3 + i), 1);
    request.on_finish = [&](const RequestResult&) { ++short_ones; };
    engine.submit(request);
  }
  engine.step();
  EXPECT_EQ(short_ones, 2);
  engine.fail_all("over");
}

TEST(Engine, CancelAtAnyStep) {
  RuntimeModel model = load_model();
  Engine engine(model, {.context = 600, .max_batch = 2});
  const auto expected = engine.run(greedy(kPrompt, 30)).tokens;
  for (int steps = 0; steps < 12; ++steps) {
    std::vector<RequestResult> ended;
    const auto keep = [&](const RequestResult& r) { ended.push_back(r); };
    Request cancelled = greedy(some_tokens(400), 40), other = greedy(kPrompt, 30),
            waiting = greedy(kPrompt, 3);
    cancelled.on_finish = other.on_finish = waiting.on_finish = keep;
    const RequestId id = engine.submit(cancelled);
    engine.submit(other);
    const RequestId third = engine.submit(waiting);
    for (int i = 0; i < steps; ++i) engine.step();
    engine.cancel(id);
    engine.cancel(id);  // a second time, and after it has ended
    const bool was_waiting = engine.stats().waiting == 1;
    if (was_waiting) engine.cancel(third);
    while (engine.step()) {
    }
    ASSERT_EQ(ended.size(), 3u);
    EXPECT_EQ(ended[0].reason, FinishReason::kCancelled) << steps;
    EXPECT_EQ(ended.back().tokens, expected);
    EXPECT_EQ(engine.stats().kv_pages_held, 0);
    EXPECT_EQ(engine.stats().running, 0);
  }
}

TEST(Engine, EveryRequestIsToldOfTheEnd) {
  RuntimeModel model = load_model();
  Engine engine(model, {.context = 100, .max_batch = 1});
  std::vector<std::string> errors;
  for (int i = 0; i < 3; ++i) {
    Request request = greedy(kPrompt, 50);
    request.on_finish = [&](const RequestResult& r) { errors.push_back(r.error); };
    engine.submit(request);
  }
  engine.step();
  engine.fail_all("the server stops");
  EXPECT_EQ(errors, std::vector<std::string>(3, "the server stops"));
  EXPECT_FALSE(engine.step());
  EXPECT_EQ(engine.stats().finished[static_cast<size_t>(FinishReason::kError)], 3);
}

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

// Whoever has no room waits; nobody is stopped halfway, and the text does not change.
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

TEST(Engine, ClientsTakeTurns) {
  RuntimeModel model = load_model();
  Engine engine(model, {.context = 100, .max_batch = 1});
  std::string order;
  const auto submit = [&](const std::string& client) {
    Request request = greedy(kPrompt, 2);
    request.client = client;
    request.on_finish = [&order, client](const RequestResult&) { order += client; };
    engine.submit(request);
  };
  for (int i = 0; i < 4; ++i) submit("a");
  submit("b");
  while (engine.step()) {
  }
  EXPECT_EQ(order, "abaaa");
}

TEST(Engine, ProbabilitiesOfThePrompt) {
  RuntimeModel model = load_model();
  Engine engine(model, {.context = 400});
  const auto prompt = some_tokens(300);
  const auto probabilities = [&](int64_t max_tokens) {
    std::vector<TokenProbabilities> found;
    Request request = greedy(prompt, max_tokens);
    request.likeliest = 2;
    request.prompt_probabilities = true;
    request.on_prompt = [&](const std::vector<TokenProbabilities>& p) { found = p; };
    const RequestResult result = engine.run(request);
    EXPECT_EQ(std::ssize(result.tokens), max_tokens);
    EXPECT_EQ(result.shared_tokens, 0);
    return found;
  };
  const auto found = probabilities(0);
  EXPECT_EQ(probabilities(1).size(), 299u);
  ASSERT_EQ(found.size(), 299u);
  // As the language model's interface gives them.
  KvCache cache(model.plan(), 300);
  std::vector<float> hidden, logits(384);
  model.prefill(prompt, cache, [&](std::span<const float> h) {
    hidden.insert(hidden.end(), h.begin(), h.end());
    return true;
  });
  const auto width = static_cast<size_t>(model.plan().hidden_size);
  for (size_t i = 0; i + 1 < prompt.size(); i += 37) {
    model.logits(std::span<const float>(hidden).subspan(i * width, width), Products::kMany, logits);
    const TokenProbabilities expected = token_probabilities(logits, prompt[i + 1], 2);
    EXPECT_EQ(found[i].chosen.log_probability, expected.chosen.log_probability);
    EXPECT_EQ(found[i].chosen.token, prompt[i + 1]);
    EXPECT_EQ(found[i].likeliest[1].token, expected.likeliest[1].token);
  }
}

// A model may have more rows than its tokenizer has tokens.
TEST(Engine, IdsOutsideTheTokenizerAreNeverSampled) {
  RuntimeModel model = load_model();
  for (const double temperature : {0.0, 50.0}) {
    Request request = sampled(kPrompt, 100, 3);
    request.sampling.temperature = temperature;
    request.sampling.repetition_penalty = 1.5;
    Engine all(model, {.context = 128});
    const auto tokens = all.run(request).tokens;
    const int64_t largest = *std::ranges::max_element(tokens);
    Engine fewer(model, {.context = 128, .vocab_size = largest});
    for (const int32_t token : fewer.run(request).tokens) EXPECT_LT(token, largest);
  }
}

TEST(Engine, CallbackStops) {
  RuntimeModel model = load_model();
  Engine engine(model, {.context = 64});
  std::vector<int32_t> seen;
  Request request = greedy(kPrompt, 20);
  request.on_token = [&](const GeneratedToken& token) {
    seen.push_back(token.token);
    return seen.size() < 3;
  };
  const auto result = engine.run(request);
  EXPECT_EQ(result.reason, FinishReason::kStopped);
  EXPECT_EQ(seen, result.tokens);
  EXPECT_EQ(seen.size(), 3u);
}

TEST(Engine, CancelledBeforeItBegins) {
  RuntimeModel model = load_model();
  Engine engine(model, {.context = 2000});
  CancelFlag flag;
  flag.raise();
  EXPECT_EQ(engine.run(greedy(some_tokens(1500), 5), {.cancel = &flag}).reason,
            FinishReason::kCancelled);
}

// Weights that give NaN end the request, not the engine.
TEST(Engine, OutputThatIsNotANumber) {
  ModelWeights weights = load_weights(
      *ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_llama_trained"),
      DensePrecision::kFast);
  weights.final_norm.weight.assign(weights.final_norm.weight.size(), std::nanf(""));
  RuntimeModel model(std::move(weights), 1);
  Engine engine(model, {.context = 64, .max_batch = 2});
  const auto results = serve(engine, {greedy(kPrompt, 5), greedy(kPrompt, 5)});
  for (const RequestResult& result : results) {
    EXPECT_EQ(result.reason, FinishReason::kError);
    EXPECT_NE(result.error.find("not a number"), std::string::npos);
  }
}

// Keys and values in int8: each is off by at most 1/254 of its head's largest, and the final hidden
// states stay near.
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
