#include "compressor/budget/target.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>

#include "base/error.h"
#include "compressor/quantize_model/result_tensors.h"
#include "tokenizer/special_tokens.h"

namespace bitsmith {
namespace {

std::string number(double value, const char* pattern) {
  char text[32];
  std::snprintf(text, sizeof(text), pattern, value);
  return text;
}

// What a target of size or bits limits, in bytes.
class Limit {
 public:
  Limit(const ModelFiles& files, const QuantizeModelOptions& options, const BudgetOptions& budget,
        const std::vector<BudgetUnit>& units)
      : files_(files),
        options_(options),
        budget_(budget),
        units_(units),
        special_tokens_(special_tokens(files.checkpoint())),
        sizes_(files) {}

  QuantizationPlan plan(const std::vector<size_t>& choices) const {
    return plan_quantization(files_.plan(), with_choices(options_, units_, choices),
                             special_tokens_);
  }
  const ResultSizes& sizes() const { return sizes_; }

  int64_t bytes(const std::vector<size_t>& choices) const {
    return by_size() ? static_cast<int64_t>(sizes_.file_bytes(plan(choices)))
                     : sizes_.model_size(plan(choices)).decoder_bytes;
  }
  int64_t most() const {
    if (by_size()) return static_cast<int64_t>(budget_.target_size.bytes);
    return static_cast<int64_t>(budget_.target_bits / 8 * static_cast<double>(decoder_weights()));
  }
  // As the user writes it.
  std::string asked() const {
    return by_size() ? concat("--target-size ", option_text(budget_.target_size))
                     : concat("--target-bits ", budget_.target_bits);
  }
  std::string text(int64_t bytes) const {
    if (by_size())
      return number(static_cast<double>(bytes) / 1e6, bytes < 1'000'000 ? "%.6f MB" : "%.3f MB");
    return number(8 * static_cast<double>(bytes) / static_cast<double>(decoder_weights()),
                  "%.3f bits");
  }

 private:
  bool by_size() const { return budget_.target_size.bytes > 0; }
  int64_t decoder_weights() const {
    int64_t weights = 0;
    for (const BlockPlan& block : files_.plan().blocks) {
      for (const LinearPlan* linear : linears(block))
        weights += linear->out_features * linear->in_features;
    }
    return weights;
  }

  const ModelFiles& files_;
  const QuantizeModelOptions& options_;
  const BudgetOptions& budget_;
  const std::vector<BudgetUnit>& units_;
  std::vector<int64_t> special_tokens_;
  ResultSizes sizes_;
};

// The best choice whose true bytes are within the limit. What the units' bytes leave out (or
// count too much: headers) is found from a choice, and changes little from one to the next.
Allocation within_limit(const Limit& limit, const std::vector<BudgetUnit>& units,
                        const std::vector<AllocationUnit>& sensitivities) {
  constexpr int kRounds = 6;
  const auto allocation_of = [&](const std::vector<size_t>& choices) {
    Allocation allocation = {choices, 0, 0};
    for (size_t u = 0; u < units.size(); ++u) {
      allocation.bytes += sensitivities[u].bytes[choices[u]];
      allocation.kl += sensitivities[u].kl[choices[u]];
    }
    return allocation;
  };
  Allocation best = allocation_of(smallest_choices(units));
  int64_t beside = limit.bytes(best.choices) - static_cast<int64_t>(best.bytes);
  for (int round = 0; round < kRounds; ++round) {
    const int64_t capacity = limit.most() - beside;
    if (capacity < 0) break;
    const auto found = least_kl(sensitivities, static_cast<uint64_t>(capacity));
    if (!found) break;
    const int64_t bytes = limit.bytes(found->choices);
    if (bytes <= limit.most() && found->kl < best.kl) best = *found;
    const int64_t now = bytes - static_cast<int64_t>(found->bytes);
    if (now == beside) break;
    // Where two estimates take turns, the cautious one stays.
    beside = bytes <= limit.most() ? now : std::max(now, beside + 1);
  }
  return best;
}

}  // namespace

void check_target(const ModelFiles& files, const QuantizeModelOptions& options,
                  const BudgetOptions& budget, const std::vector<BudgetUnit>& units) {
  if (budget.target_kl > 0) return;
  const Limit limit(files, options, budget, units);
  const int64_t least = limit.bytes(smallest_choices(units)),
                most = limit.bytes(largest_choices(units));
  if (limit.most() >= least && limit.most() <= most) return;
  throw UsageError(concat(limit.asked(), " is ", limit.most() < least ? "below" : "above",
                          " what the candidates can come to: ", limit.text(least), " to ",
                          limit.text(most),
                          "; ask for something between, or give other "
                          "--candidates or --embedding-candidates"));
}

TargetPlan plan_to_target(const ModelFiles& files, const QuantizeModelOptions& options,
                          const BudgetOptions& budget, const std::vector<BudgetUnit>& units,
                          const std::vector<AllocationUnit>& sensitivities) {
  const Limit limit(files, options, budget, units);
  std::optional<Allocation> found;
  if (budget.target_kl > 0) {
    found = fewest_bytes(sensitivities, budget.target_kl);
    if (!found) {
      const Allocation best = *least_kl(sensitivities, std::numeric_limits<int64_t>::max());
      throw UsageError(concat(
          "--target-kl ", budget.target_kl, " is below the least that the candidates can come to, ",
          number(best.kl, "%.4g"), " at ",
          number(static_cast<double>(limit.sizes().file_bytes(limit.plan(best.choices))) / 1e6,
                 "%.3f MB"),
          "; the same command with another target needs no new measurements"));
    }
  } else {
    found = within_limit(limit, units, sensitivities);
  }
  const QuantizationPlan plan = limit.plan(found->choices);
  return {found->choices, found->kl, limit.sizes().file_bytes(plan),
          limit.sizes().model_size(plan).decoder_bits()};
}

}  // namespace bitsmith
