#include "runtime/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "runtime/test_requests.h"

namespace bitsmith {
namespace {

using testing::greedy, testing::joined, testing::kPrompt, testing::load_model, testing::sampled,
    testing::serve, testing::some_tokens;

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
  RuntimeModel one = load_model("tiny_llama_trained", 1),
               three = load_model("tiny_llama_trained", 3);
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

TEST(Engine, ARequestDoesNotDependOnWhatRunsBesideIt) {
  for (const char* name : {"tiny_llama_trained", "tiny_mistral", "families/tiny_mixtral",
                           "families/tiny_phi3_longrope", "tiny_llama_dynamic"}) {
    RuntimeModel model = load_model(name);
    for (const Products products : {Products::kSingle, Products::kShared, Products::kExact}) {
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
    model.logits(std::span<const float>(hidden).subspan(i * width, width), Products::kExact,
                 logits);
    const TokenProbabilities expected = token_probabilities(logits, prompt[i + 1], 2);
    EXPECT_EQ(found[i].chosen.log_probability, expected.chosen.log_probability);
    EXPECT_EQ(found[i].chosen.token, prompt[i + 1]);
    EXPECT_EQ(found[i].likeliest[1].token, expected.likeliest[1].token);
  }
}

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

}  // namespace
}  // namespace bitsmith
