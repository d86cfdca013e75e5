// What a tuning run is asked to do.
#pragma once
#include <cstdint>
#include <string>

#include "compressor/tune/adam.h"
#include "compressor/tune/v_step.h"

namespace bitsmith {

// continuous: the P step alone (codebooks, scales, norms). pv: also codes, by the linearized
// subspace V step.
enum class Strategy { kContinuous, kPv };
Strategy parse_strategy(const std::string& name);  // UsageError names the choices
const char* strategy_name(Strategy strategy);

struct TuneOptions {
  Strategy strategy = Strategy::kPv;
  // The budget: exactly one of the two is positive. Tokens give a reproducible run.
  int64_t tokens = 0;
  double minutes = 0;
  int64_t batch_tokens = 4096;  // one optimizer step
  int64_t micro_tokens = 2048;  // one forward and backward pass; bounds the activations' memory
  // Step lengths in units of each tensor's own root mean square (the paper's 3e-4 at an RMS of 0.02
  // is 0.015); both fall linearly to `final_rate` of themselves over the run.
  double learning_rate = 0.003;
  double final_rate = 0.1;
  VStepOptions v;
  int64_t v_interval = 4;  // steps between V steps
  double v_start = 0.4;    // share of the run before the first V step: the P steps go first
  // The V step's gradient is averaged over about 2 / (1 - code_momentum) steps: those of a few
  // thousand tokens are nearly all noise for a single group of weights.
  double code_momentum = 0.98;
  AdamOptions adam;
  std::string dtype =
      "auto";  // of forward and backward: "float32", "bfloat16", or the faster, measured
  double checkpoint_minutes = 3;
  uint64_t seed = 0;
};

struct TuneResult {
  double kl_before = 0,
         kl_after = 0;  // validation, nats a token; after: of the best state, which is what is kept
  int64_t tokens = 0, steps = 0;
  int64_t best_step = 0;
  double codes_changed = 0;  // share of groups changed, every change counted
  double seconds = 0, tokens_per_second = 0;
  std::string dtype;
  bool diverged = false;
};

}  // namespace bitsmith
