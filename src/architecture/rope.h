// Rotary position embedding: how fast each pair of a head's values turns, for every scaling that
// models use (transformers' modeling_rope_utils.py).
#pragma once
#include <cstdint>
#include <vector>

namespace bitsmith {

// The pair (i, i + dims / 2) of a head's first `dims` values turns by position * frequency i.
struct RopePlan {
  enum class Scaling { kNone, kLinear, kDynamic, kLlama3, kYarn, kLongRope };
  Scaling scaling = Scaling::kNone;
  int64_t dims = 0;  // even; less than head_dim: the others stay (GPT-NeoX, Phi)
  double theta = 10000.0;
  double factor = 1.0;  // by which the context was stretched
  // The context of the training before the stretching. llama3, yarn, longrope; dynamic: from where
  // theta grows.
  int64_t trained_context = 0;
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // llama3
  double beta_fast = 32.0, beta_slow = 1.0;              // yarn: turns over the trained context
  bool truncate = true;                                  // yarn: whole pairs as bounds of its ramp
  std::vector<double> short_factors = {}, long_factors = {};  // longrope: divisors [dims / 2]
  // Cosines and sines are multiplied by this. 1 but for yarn and longrope.
  double attention_factor = 1.0;

  bool operator==(const RopePlan&) const = default;
};

// YaRN's own attention factor: 0.1 mscale ln(factor) + 1.
double yarn_attention(double factor, double mscale);
// [dims / 2] in float64 for a sequence of `length` positions.
std::vector<double> rope_inverse_frequencies(const RopePlan& rope, int64_t length);
// The length that stands for all lengths with its frequencies: those of a sequence change only
// where this does.
int64_t rope_length_class(const RopePlan& rope, int64_t length);

}  // namespace bitsmith
