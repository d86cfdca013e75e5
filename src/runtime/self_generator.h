// The model's own text, for calibration.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "base/run_context.h"
#include "runtime/model.h"

namespace bitsmith {

struct SelfGenerateOptions {
  // How each sequence begins, e.g. {<|endoftext|>}; at least one token. There are as many
  // sequences.
  std::vector<std::vector<int32_t>> starts = {};
  int64_t first = 0;     // index of the first sequence: a long request may be made in parts
  int64_t length = 512;  // tokens of each, the start tokens included
  uint64_t seed = 0;     // sequence i draws from stream i: its text does not depend on the others
  double temperature = 1.0;
  int64_t batch = 32;      // sequences generated side by side
  int64_t vocab_size = 0;  // as in EngineOptions
};

// Sequences of exactly `length` tokens. An end-of-text token does not end a sequence: the
// model begins a new document after it. progress gets (tokens done, of). Throws Interrupted.
std::vector<std::vector<int32_t>> generate_sequences(
    RuntimeModel& model, const SelfGenerateOptions& options,
    const std::function<void(int64_t done, int64_t of)>& progress = {},
    const RunContext& context = {});

}  // namespace bitsmith
