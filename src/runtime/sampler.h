// From logits to the next token.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"

namespace bitsmith {

struct SamplingOptions {
  double temperature = 1.0;         // 0: always the most likely token
  int64_t top_k = 0;                // only the k most likely tokens; 0: all
  double top_p = 1.0;               // only the most likely ones that together reach probability p
  double min_p = 0.0;               // only tokens at least min_p times as likely as the likeliest
  double repetition_penalty = 1.0;  // divides the positive logits of tokens already in the context
                                    // and multiplies the negative ones (Keskar et al. 2019)
};

// Throws UsageError naming the option that is out of range.
void check(const SamplingOptions& options);

// The filters apply in the order penalty, temperature, top-k, top-p, min-p.
class Sampler {
 public:
  // `stream`: independent generators under one seed.
  explicit Sampler(const SamplingOptions& options, uint64_t seed = 0, uint64_t stream = 0);
  // logits [vocab_size]; context: the tokens so far, for the repetition penalty, which passes over
  // ids outside the logits. Among equal logits greedy takes the lowest id. Throws Error when no
  // logit is a number.
  int32_t sample(std::span<const float> logits, std::span<const int32_t> context);

 private:
  struct Candidate {
    int32_t token;
    float weight;  // proportional to the probability; the likeliest has 1
  };
  void filter();

  SamplingOptions options_;
  Random random_;
  std::vector<float> penalized_, weights_;
  std::vector<Candidate> candidates_;
};

}  // namespace bitsmith
