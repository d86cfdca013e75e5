// What a tuning run is asked to do.
#pragma once
#include <cstdint>
#include <string>

#include "compressor/train/adam.h"
#include "compressor/train/code_rules.h"

namespace bitsmith {

struct TuneOptions {
  // How codes move: a name of code_rules(). "continuous" leaves them, and is best where a run is
  // too short for V steps.
  std::string strategy = "pv";
  CodeRuleOptions code;  // of the strategy

  // The budget: exactly one of the two is positive. Tokens give a reproducible run; minutes bound
  // the wait.
  int64_t tokens = 0;
  double minutes = 0;

  // Tokens of one optimizer step. More give gradients with less noise, and fewer steps.
  int64_t batch_tokens = 4096;
  // Tokens of one forward and backward pass. Lower it where memory is short; a step costs the same.
  int64_t micro_tokens = 2048;

  // Length of a P step in units of each tensor's own root mean square (the paper's 3e-4 at a root
  // mean square of 0.02 is 0.015). Lower it where the loss swings or diverges.
  double learning_rate = 0.003;
  // Share of all step lengths that is left at the end; they fall linearly. 1: they do not fall.
  double final_rate = 0.1;
  AdamOptions adam;  // of the P step

  // Of forward and backward passes: "float32", "bfloat16", or "auto", the one in which this machine
  // multiplies faster. Name one where runs of several machines are compared.
  std::string dtype = "auto";
  // Time between two saved states: the most that a crash can lose. Ctrl-C loses nothing.
  double checkpoint_minutes = 3;
  uint64_t seed = 0;  // of the order of the windows
};

struct TuneResult {
  double kl_before = 0,
         kl_after = 0;  // validation, nats a token; after: of the best state, which is what is kept
  int64_t tokens = 0, steps = 0;
  int64_t best_step = 0;
  double codes_changed = 0;  // share of code groups changed, every change counted
  double seconds = 0, tokens_per_second = 0;
  std::string dtype;
  bool diverged = false;
};

}  // namespace bitsmith
