// A request that an engine reads or answers. Only for the engine's own files.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/engine.h"

namespace bitsmith {

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Engine::Sequence {
  using Clock = std::chrono::steady_clock;

  Sequence(Waiting waiting, std::shared_ptr<KvPool> pool, int64_t positions)
      : id(waiting.id),
        request(std::move(waiting.request)),
        cache(std::move(pool), positions),
        positions(positions),
        sampler(request.sampling, request.seed, request.stream) {
    result.queue_seconds = seconds_since(waiting.submitted);
  }
  bool reads_prompt() const { return cache.length() < std::ssize(request.prompt); }
  // Pages that it will still take.
  int64_t pages_to_come() const { return KvPool::pages_for(positions) - std::ssize(cache.pages()); }

  RequestId id;
  Request request;
  KvCache cache;
  int64_t positions;  // that it may come to have
  Sampler sampler;
  RequestResult result;
  bool keeps_pages = false;
  bool finished = false;
  int32_t next = -1;  // token of the answer that is to be run
  std::vector<TokenProbabilities> prompt_probabilities;
  std::vector<float> constrained;  // work space: logits that the constraint leaves
  Clock::time_point started = Clock::now(), first_token;
};

}  // namespace bitsmith
