// Text generation: prompt ids in, tokens out.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/run_context.h"
#include "runtime/model.h"
#include "runtime/sampler.h"

namespace bitsmith {

struct GenerateOptions {
  int64_t max_tokens = 512;
  std::vector<int64_t> end_tokens = {};  // any of them ends the answer, and is not part of it
  // Only ids below are sampled: the tokenizer's size, where the model has more rows (padding).
  // 0: all of the model's.
  int64_t vocab_size = 0;
};

enum class StopReason { kEndToken, kMaxTokens, kContextFull, kStopped };
const char* stop_reason_name(StopReason reason);  // "end", "max_tokens", "context", "stopped"

struct GenerateResult {
  std::vector<int32_t> tokens;
  StopReason stop_reason = StopReason::kMaxTokens;
  int64_t prompt_tokens = 0;  // run for this call: what the cache held already is not counted
  double prompt_seconds = 0, generate_seconds = 0;

  double prompt_tokens_per_second() const;
  double tokens_per_second() const;  // of the answer, after its first token
};

// Continues `prompt` (the whole text so far). What the cache already holds of it is kept, the rest
// of the cache is forgotten, so a chat passes its whole history each time at no cost.
// on_token is called for every token as it comes; returning false stops (kStopped), as does
// context.cancel, which is also seen within the prompt.
// Throws Error when the prompt does not fit into the cache.
GenerateResult generate(RuntimeModel& model, KvCache& cache, std::span<const int32_t> prompt,
                        Sampler& sampler, const GenerateOptions& options,
                        const std::function<bool(int32_t token)>& on_token = {},
                        const RunContext& context = {});

struct SelfGenerateOptions {
  int64_t first = 0;     // index of the first sequence: a long request may be made in parts
  int64_t count = 32;    // sequences
  int64_t length = 512;  // tokens of each, the start tokens included
  uint64_t seed = 0;     // sequence i draws from stream i: its text does not depend on count
  double temperature = 1.0;
  std::vector<int32_t> start =
      {};                  // how each sequence begins, e.g. {<|endoftext|>}; at least one token
  int64_t batch = 32;      // sequences generated side by side
  int64_t vocab_size = 0;  // as in GenerateOptions
};

// The model's own text, for calibration: `count` sequences of exactly `length` tokens. An
// end-of-text token does not end a sequence: the model begins a new document after it.
// progress gets (tokens done, of). Throws Interrupted.
std::vector<std::vector<int32_t>> generate_sequences(
    RuntimeModel& model, const SelfGenerateOptions& options,
    const std::function<void(int64_t done, int64_t of)>& progress = {},
    const RunContext& context = {});

}  // namespace bitsmith
