// What a tuning run is asked to do.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/options.h"
#include "compressor/train/adam.h"
#include "compressor/train/code_rules.h"

namespace bitsmith {

struct TuneOptions {
  // How codes move: a name of code_rules(). continuous leaves them: it is faster, takes less
  // memory, and is best where a run is too short for V steps. Default: pv
  std::string strategy = "pv";

  // Of the strategy.
  CodeRuleOptions code;

  // The budget: exactly one of the two is positive. Tokens give a reproducible run.
  // Default: none
  int64_t tokens = 0;
  double minutes = 0;

  // Tokens of one optimizer step.
  // Default: 4096
  int64_t batch_tokens = 4096;

  // Tokens of one forward and backward pass. Lower it where activations take too much memory.
  // Default: 2048
  int64_t micro_tokens = 2048;

  // Adam's step of codebooks, scales and norms, in units of each tensor's own root mean square (the
  // paper's 3e-4 at an RMS of 0.02 is 0.015). Lower it where the loss rises.
  // Default: 0.003
  double learning_rate = 0.003;

  // The learning rate, the trust ratio and the steps of the other strategies fall linearly to this
  // share of themselves over the run. Default: 0.1
  double final_rate = 0.1;

  // Of the P step.
  AdamOptions adam;

  // Train a quantized embedding and head too. A step then takes about as much longer as the model
  // has weights there.
  // Default: false
  bool embedding = false;

  // Of forward and backward: "float32", "bfloat16", or "auto": bfloat16 on processors
  // with instructions for it.
  // Default: auto
  std::string dtype = "auto";

  // Time between saved states: what a killed run loses at most.
  // Default: 3
  double checkpoint_minutes = 3;

  // Of the order of windows and the random draws of strategies.
  // Default: 0
  uint64_t seed = 0;

  template <typename Self, typename Visitor>
  static void visit(Self& o, Visitor& v);
};

template <typename Self, typename Visitor>
void TuneOptions::visit(Self& o, Visitor& v) {
  using enum Option::Recorded;
  v(Option{.key = "strategy", .help = code_rule_help(), .choices = code_rule_names()}, o.strategy);
  v(Option{.key = "tokens",
           .help = "Length of the run in training tokens: reproducible",
           .shows_default = false},
    o.tokens);
  v(Option{.key = "minutes", .help = "Length of the run in minutes", .shows_default = false},
    o.minutes);
  v(Option{.key = "batch_tokens", .help = "Tokens a step", .range = at_least(1)}, o.batch_tokens);
  v(Option{.key = "micro_tokens",
           .help = "Tokens a forward pass: bounds memory",
           .range = at_least(1)},
    o.micro_tokens);
  v(Option{.key = "learning_rate",
           .help = "Step of codebooks and scales, in units of each tensor's root mean square",
           .range = {{0, 1}}},
    o.learning_rate);
  v(Option{.key = "final_rate",
           .help = "Share of the rates that is left at the end",
           .range = {{0, 1}}},
    o.final_rate);
  v(Option{.key = "code_step",
           .help = "pv, naive-pv: length of the update whose nearest codes are searched, in units\n"
                   "of each matrix's distance to the original (root mean square a weight)",
           .range = {{0, 1000}}},
    o.code.code_step);
  v(Option{.key = "trust_ratio",
           .help = "pv, pv+ste: largest change of a matrix in one V step, in the same units",
           .range = {{0, 1000}}},
    o.code.subspace.trust_ratio);
  v(Option{.key = "code_momentum",
           .help =
               "Momentum of the gradient that V steps use: averages it over about 2 / (1 - it)\n"
               "steps",
           .range = {{0, 0.9999}}},
    o.code.adam.beta1);
  v(Option{.key = "p_steps_per_v_step",
           .help = "P steps from one V step to the next",
           .range = at_least(1)},
    o.code.schedule.p_steps);
  v(Option{.key = "v_start", .help = "Share of the run before the first V step", .range = {{0, 1}}},
    o.code.schedule.start);
  v(Option{.key = "alternate",
           .help =
               "P and V steps by turns, each with a gradient of its own; without it one gradient\n"
               "serves both",
           .recorded = kIfChanged},
    o.code.schedule.alternate);
  v(Option{.key = "subspace",
           .help = "pv, pv+ste: the code groups that may change: those with the largest updates "
                   "(norm), or drawn at random: uniform, or proportional to the norms of their "
                   "updates",
           .recorded = kIfChanged},
    o.code.subspace.sampling);
  v(Option{.key = "embedding",
           .help = "Train a quantized embedding and head too, by the gradients of both uses",
           .recorded = kIfChanged},
    o.embedding);
  v.derived("betas", std::vector<double>{o.adam.beta1, o.adam.beta2});
  v(Option{.key = "dtype",
           .help = "Arithmetic of the passes: float32, bfloat16, or auto: bfloat16 where the "
                   "processor multiplies it"},
    o.dtype);
  v(Option{.key = "checkpoint_minutes",
           .help = "Time between saved states",
           .range = {{0, 1e6}},
           .recorded = kNever},
    o.checkpoint_minutes);
  v(Option{.key = "seed"}, o.seed);
  v(Option{.key = "beta1", .recorded = kDerived}, o.adam.beta1);  // see betas
  v(Option{.key = "beta2", .recorded = kDerived}, o.adam.beta2);
  v(Option{.key = "epsilon", .recorded = kIfChanged}, o.adam.epsilon);
  v(Option{.key = "v_chunk", .recorded = kIfChanged}, o.code.subspace.chunk);
  v(Option{.key = "v_max_chunks", .recorded = kIfChanged}, o.code.subspace.max_chunks);
  v(Option{.key = "latent_rate",
           .help = "ste, pv+ste: step of the latent weights, in the same units",
           .range = {{0, 1000}},
           .recorded = kIfChanged},
    o.code.latent.rate);
  v(Option{.key = "latent_decay",
           .help =
               "ste, pv+ste: share of the way to the quantized weights that the latent ones go\n"
               "back at each V step",
           .range = {{0, 1}},
           .recorded = kIfChanged},
    o.code.latent.decay);
  v(Option{.key = "rounding_step",
           .help = "stochastic-rounding: length of the update that is rounded, in the same units",
           .range = {{0, 1000}},
           .recorded = kIfChanged},
    o.code.rounding.step);
  v(Option{.key = "temperature",
           .help =
               "stochastic-rounding: codes at the distance d are drawn like d^(-1 / it); 0: the\n"
               "nearest",
           .range = {{0, 1000}},
           .recorded = kIfChanged},
    o.code.rounding.temperature);
  v(Option{.key = "code_beta2", .recorded = kIfChanged}, o.code.adam.beta2);
  v(Option{.key = "code_epsilon", .recorded = kIfChanged}, o.code.adam.epsilon);
}

// The student as it would be kept, at one moment of a run.
struct Validation {
  int64_t step = 0, tokens = 0;  // done
  double training_kl = 0;        // mean over the steps since the last validation; 0 at the first
  double kl = 0;                 // on the held-out windows
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
  std::vector<Validation> validations;  // the first before any step
};

}  // namespace bitsmith
