// For tests of the engine: the tiny trained model, and requests to it.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "runtime/engine.h"

namespace bitsmith::testing {

inline RuntimeModel load_model(const std::string& name = "tiny_llama_trained", int threads = 2) {
  const std::filesystem::path path = std::filesystem::path(BITSMITH_TESTDATA) / name;
  return RuntimeModel(load_weights(*ModelFiles::open(path), DensePrecision::kFast), threads);
}

inline const std::vector<int32_t> kPrompt = {0, 40, 70, 300, 45};

inline std::vector<int32_t> some_tokens(int32_t count, int32_t step = 7) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < count; ++i) tokens.push_back((i * step + 3) % 384);
  return tokens;
}

inline Request greedy(std::vector<int32_t> prompt, int64_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  return request;
}

inline Request sampled(std::vector<int32_t> prompt, int64_t max_tokens, uint64_t seed) {
  Request request = greedy(std::move(prompt), max_tokens);
  request.sampling.temperature = 1.5;
  request.seed = seed;
  return request;
}

inline std::vector<int32_t> joined(std::vector<int32_t> a, const std::vector<int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Serves all requests side by side; the results in their order.
inline std::vector<RequestResult> serve(Engine& engine, std::vector<Request> requests) {
  std::vector<RequestResult> results(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].on_finish = [&results, i](const RequestResult& r) { results[i] = r; };
    engine.submit(std::move(requests[i]));
  }
  while (engine.step()) {
  }
  return results;
}

}  // namespace bitsmith::testing
