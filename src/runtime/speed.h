// How fast a model runs: tokens a second of prompts and of answers, over lengths and batches.
#pragma once
#include <cstdint>
#include <vector>

#include "base/run_context.h"
#include "runtime/model.h"

namespace bitsmith {

struct SpeedOptions {
  std::vector<int64_t> prompt_tokens = {512};  // lengths of prompts
  int64_t generate_tokens = 128;
  std::vector<int64_t> after = {0};       // tokens that a sequence has before it generates
  std::vector<int64_t> batch = {1};       // sequences that generate side by side
  Products products = Products::kSingle;  // of batches
  int64_t repeats = 3;
};

// Tokens a second of all sequences together, of the repeats.
struct MeasuredSpeed {
  bool prompt = false;  // else an answer
  int64_t tokens = 0;   // of a sequence, those that were timed
  int64_t after = 0, batch = 1;
  double median = 0, best = 0;
};

// Runs one token through all weights, for the first time.
void run_first_token(RuntimeModel& model);

// Every prompt length, then every `after` with every batch; random tokens. Throws Interrupted.
std::vector<MeasuredSpeed> measure_speed(RuntimeModel& model, const SpeedOptions& options,
                                         const RunContext& context);

}  // namespace bitsmith
