// The table at the end of compress(): original and result as their user meets them, in the runtime.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/run_context.h"
#include "evaluate/evaluate.h"

namespace bitsmith {

// How fast the runtime generates, and what it takes.
struct Speed {
  double tokens_per_second = 0;
  uint64_t peak_memory_bytes = 0;  // of a process that does nothing else
};
// Measures the model in a directory, in a process of its own, so that nothing of this one is
// counted: only a program knows where bitsmith is. Throws Error, or Interrupted.
using SpeedProbe = std::function<Speed(const std::filesystem::path& model)>;

// One row of the table.
struct Judged {
  double decoder_bits = 0;
  uint64_t file_bytes = 0;
  EvaluateResult quality;
  std::optional<Speed> speed = {};
};

// KL and top-1 are against the original.
struct Judgment {
  Judged original, compressed;
  // Of a result that was tuned: what it was before. As fast as after, so that its speed is not
  // measured.
  std::optional<Judged> one_shot = {};
};

// Scores `tokens`, windows of `window` tokens, with each model; `one_shot`: the folder of the
// result before it was tuned, if it was. Throws Interrupted.
Judgment judge(const std::filesystem::path& original,
               const std::optional<std::filesystem::path>& one_shot,
               const std::filesystem::path& compressed, const std::vector<int32_t>& tokens,
               int64_t window, const SpeedProbe& measure_speed, const RunContext& context);

OrderedJson to_json(const Judged& judged);
// Markdown. Speeds and memory only where they may be shown: a result directory holds none, so that
// the same work gives the same bytes.
std::string judgment_table(const Judgment& judgment, bool with_speed);

}  // namespace bitsmith
