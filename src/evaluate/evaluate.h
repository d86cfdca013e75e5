// Perplexity, and divergence from a teacher, over non-overlapping windows of a text
// (docs/evaluation.md).
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/run_context.h"
#include "evaluate/language_model.h"

namespace bitsmith {

struct EvaluateOptions {
  int64_t context = 2048;  // tokens a window; context - 1 of them are scored; the tail is dropped
  int64_t windows = 0;     // first N windows; 0: all
  int64_t chunk = 128;     // positions whose logits exist at one time
  // Takes the place of each window's first token, which is not scored; none: the text's own stays.
  std::optional<int32_t> bos = {};
};

struct EvaluateResult {
  int64_t tokens = 0;  // scored
  int64_t windows = 0;
  double perplexity = 0;  // exp(mean of -log p), natural logarithm
  double perplexity_error =
      0;  // standard error, from the windows' means (delta method); 0 for one window
  // With a teacher, over the same positions: KL(teacher || student) in nats. Errors as above.
  double kl = 0, kl_error = 0;
  double teacher_perplexity = 0;
  double kl_p99 = 0;                // 99th percentile over positions
  double top1 = 0, top1_error = 0;  // share of positions where both have the same most likely token
  double seconds = 0;
};

// context.threads are for the sums over the vocabulary and do not change the result. `progress`
// gets (windows done, of, running perplexity); it may be empty. Throws Interrupted after the window
// in which the work was cancelled.
EvaluateResult evaluate(LanguageModel& model, LanguageModel* teacher,
                        std::span<const int32_t> tokens, const EvaluateOptions& options,
                        const RunContext& context = {},
                        const std::function<void(int64_t, int64_t, double)>& progress = {});

}  // namespace bitsmith
