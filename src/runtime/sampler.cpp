#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "base/error.h"
#include "kernels/kernel_table.h"

namespace bitsmith {

void check(const SamplingOptions& options) {
  const auto require = [](bool holds, const char* name, double value, const char* range) {
    if (!holds) throw UsageError(concat(name, " ", value, " is out of range: it must be ", range));
  };
  require(options.temperature >= 0 && std::isfinite(options.temperature), "temperature",
          options.temperature, "0 (greedy) or more");
  require(options.top_k >= 0, "top_k", static_cast<double>(options.top_k), "0 (off) or more");
  require(options.top_p > 0 && options.top_p <= 1, "top_p", options.top_p,
          "above 0 and at most 1 (off)");
  require(options.min_p >= 0 && options.min_p <= 1, "min_p", options.min_p,
          "between 0 (off) and 1");
  require(options.repetition_penalty > 0 && std::isfinite(options.repetition_penalty),
          "repetition_penalty", options.repetition_penalty, "above 0 (1: off)");
}

Sampler::Sampler(const SamplingOptions& options, uint64_t seed, uint64_t stream)
    : options_(options), random_(seed, stream) {
  check(options);
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> context) {
  if (options_.repetition_penalty != 1.0) {
    penalized_.assign(logits.begin(), logits.end());
    const float penalty = static_cast<float>(options_.repetition_penalty);
    for (const int32_t token : context) {  // from the original logit, so that repeats count once
      if (static_cast<size_t>(token) >= logits.size()) continue;
      const float original = logits[static_cast<size_t>(token)];
      penalized_[static_cast<size_t>(token)] =
          original > 0 ? original / penalty : original * penalty;
    }
    logits = penalized_;
  }
  float largest = -std::numeric_limits<float>::infinity();
  int32_t best = -1;
  for (size_t i = 0; i < logits.size(); ++i) {  // NaN compares false and is never taken
    if (logits[i] > largest) {
      largest = logits[i];
      best = static_cast<int32_t>(i);
    }
  }
  if (best < 0 || !std::isfinite(largest))
    throw Error("the model's output is not a number: its weights are damaged or overflow");
  if (options_.temperature == 0) return best;

  // Of the smallest temperatures 1 / T is beyond float32; the largest number stands for it.
  constexpr double kMost = std::numeric_limits<float>::max();
  const auto inverse = static_cast<float>(std::min(1.0 / options_.temperature, kMost));
  weights_.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) weights_[i] = (logits[i] - largest) * inverse;
  kernels().softmax.exponentials(weights_.data(), std::ssize(weights_));
  candidates_.clear();
  for (size_t i = 0; i < weights_.size(); ++i)
    if (weights_[i] > 0) candidates_.push_back({static_cast<int32_t>(i), weights_[i]});
  filter();
  double total = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  double left = random_.uniform() * total;
  for (const Candidate& c : candidates_) {
    left -= c.weight;
    if (left < 0) return c.token;
  }
  return candidates_.back().token;  // rounding may leave a little
}

void Sampler::filter() {
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
  };
  const size_t top_k = static_cast<size_t>(options_.top_k);
  if (top_k > 0 && top_k < candidates_.size()) {
    const auto end = candidates_.begin() + options_.top_k;
    std::nth_element(candidates_.begin(), end, candidates_.end(), likelier);
    candidates_.erase(end, candidates_.end());
  }
  if (options_.top_p < 1) {
    double wanted = 0;
    for (const Candidate& c : candidates_) wanted += c.weight * options_.top_p;
    // A heap gives the likeliest one after another without sorting the whole vocabulary; popped
    // ones gather at the end.
    const auto less_likely = [&](const Candidate& a, const Candidate& b) { return likelier(b, a); };
    std::make_heap(candidates_.begin(), candidates_.end(), less_likely);
    auto kept = candidates_.end();
    for (double reached = 0; reached < wanted && kept != candidates_.begin(); --kept) {
      std::pop_heap(candidates_.begin(), kept, less_likely);
      reached += std::prev(kept)->weight;
    }
    candidates_.erase(candidates_.begin(), kept);
  }
  const float least = static_cast<float>(options_.min_p);
  std::erase_if(candidates_, [&](const Candidate& c) { return c.weight < least; });
  const auto by_token = [](const Candidate& a, const Candidate& b) { return a.token < b.token; };
  if (!std::is_sorted(candidates_.begin(), candidates_.end(), by_token))
    std::sort(candidates_.begin(), candidates_.end(), by_token);
}

}  // namespace bitsmith
