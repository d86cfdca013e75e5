// The table at the end of compress: original and result as their user meets them, in the runtime.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "evaluate/evaluate.h"

namespace bitsmith {

// One row of the table.
struct Judged {
  double decoder_bits = 0;
  uint64_t file_bytes = 0;
  EvaluateResult quality;
  double tokens_per_second = 0;
  uint64_t peak_memory_bytes = 0;
};

struct Judgment {
  Judged original, compressed;  // KL and top-1 of the second against the first
};

// Scores `tokens`, windows of `context`, with both models. Speed and memory are measured in a
// process of their own, so that nothing of this one is counted.
Judgment judge(const std::filesystem::path& original, const std::filesystem::path& compressed,
               const std::vector<int32_t>& tokens, int64_t context, int threads);

OrderedJson to_json(const Judged& judged);
// Markdown. Speeds and memory only where they may be shown: a result directory holds none, so that
// the same work gives the same bytes.
std::string judgment_table(const Judgment& judgment, bool with_speed);

}  // namespace bitsmith
