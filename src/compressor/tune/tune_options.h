// What a tuning run is asked to do.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/options.h"
#include "compressor/train/adam.h"
#include "compressor/train/code_rules.h"
#include "compressor/train/loss_options.h"
#include "compressor/train/p_step_options.h"
#include "compressor/train/rate_schedule.h"
#include "compressor/train/student_pass.h"
#include "compressor/tune/code_pass_options.h"
#include "compressor/tune/student.h"

namespace bitsmith {

// Of a trained model nearly all of the mass.
constexpr int64_t kDefaultTopK = 64;

struct TuneOptions {
  // How codes move: a name of code_rules(). continuous leaves them: it is faster, takes less
  // memory, and is best where a run is too short for V steps. Default: pv
  std::string strategy = "pv";

  // Of the strategy.
  CodeRuleOptions code;

  // Of strategies that search codes in passes over the blocks.
  CodePassOptions pass;
  bool has_passes() const { return find_code_rule(strategy).pass != CodePass::kNone; }

  // What the steps lower. Validation is by the KL in any case: results of all losses compare.
  LossOptions loss;

  // Folder that keeps the teacher's likeliest tokens of each position (train/teacher_cache.h), made
  // once for a model, data and windows: steps then do not run the teacher. It helps where a run
  // goes over its data more than once, or several do. Default: none, the teacher runs in every step
  std::string teacher_cache = {};

  // Tokens of a position in it; the rest is known by its mass alone. 8 bytes each.
  // Default: 0, kDefaultTopK where there is a cache
  int64_t teacher_top_k = 0;

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

  // Keep the inputs of the student's blocks alone for the backward pass, and run each block again
  // in it: the same result, with far less memory for activations, in about a quarter more time.
  // check_tune_request() sets it where a run would not fit without.
  // Default: false
  bool recompute_activations = false;

  // Adam's step of codebooks, scales and norms, in units of each tensor's own root mean square (the
  // paper's 3e-4 at an RMS of 0.02 is 0.015). Lower it where the loss rises.
  // Default: 0.003
  double learning_rate = 0.003;

  RateSchedule rates;

  // Gradients of a step that are longer, over all that learns, are scaled to this length (Pascanu
  // et al. 2013): a batch of odd text then moves no more than the others. The log shows their
  // lengths where it is given.
  // Default: 0, none
  double max_gradient_norm = 0;

  // Of the P step.
  PStepOptions p_step;

  // Of Adam's moments, of codes and of continuous parameters: auto is bfloat16 and float32. 8 bits
  // take half of bfloat16's memory, and more time.
  // Default: auto
  MomentFormat optimizer_state = MomentFormat::kAuto;

  // Moments and latent weights lie in files of the work folder. The system writes them back where
  // memory gets short: the same result, slower, with less memory.
  // Default: false
  bool offload_optimizer = false;

  // Train a quantized embedding and head too. A step then takes about as much longer as the model
  // has weights there.
  // Default: false
  bool embedding = false;

  // Train a quantized head that is not the embedding, and leave that as it is: rare tokens have few
  // gradients there.
  // Default: false
  bool head = false;

  // Train the norms' weights and the biases of the blocks.
  // Default: true
  bool norms = true, biases = true;

  // Of forward and backward: "float32", "bfloat16", or "auto": bfloat16 where its matrix products
  // are clearly faster, by a short measurement.
  // Default: auto
  std::string dtype = "auto";

  // Time between saved states: what a killed run loses at most.
  // Default: 3
  double checkpoint_minutes = 3;

  // Of the order of windows and the random draws of strategies.
  // Default: 0
  uint64_t seed = 0;

  TrainedParts trained_parts() const {
    return {{.norms = norms, .biases = biases}, embedding, embedding || head};
  }
  // A forward and backward pass's, of `length` tokens each.
  int64_t micro_windows(int64_t length) const {
    return std::max<int64_t>(1, micro_tokens / length);
  }
  KeptActivations kept_activations() const {
    return recompute_activations ? KeptActivations::kBlockInputs : KeptActivations::kAll;
  }
  // With the optimizer's state as it was asked for.
  PStepOptions p_step_options() const {
    PStepOptions options = p_step;
    options.adam = options.adam.with(optimizer_state);
    return options;
  }
  CodeRuleOptions code_options() const {
    CodeRuleOptions options = code;
    options.adam = options.adam.with(optimizer_state);
    return options;
  }

  template <typename Self, typename Visitor>
  static void visit(Self& o, Visitor& v);
};

template <typename Self, typename Visitor>
void TuneOptions::visit(Self& o, Visitor& v) {
  using enum Option::Recorded;
  v(Option{.key = "strategy", .help = code_rule_help(), .choices = code_rule_names()}, o.strategy);
  v(Option{.key = "tokens",
           .help = "Length of the run in training tokens: reproducible",
           .range = at_least(0),
           .shows_default = false},
    o.tokens);
  v(Option{.key = "minutes",
           .help = "Length of the run in minutes",
           .range = {{0, 1e6}},
           .shows_default = false},
    o.minutes);
  v(Option{.key = "batch_tokens", .help = "Tokens a step", .range = at_least(1)}, o.batch_tokens);
  v(Option{.key = "micro_tokens",
           .help = "Tokens a forward pass: bounds memory",
           .range = at_least(1)},
    o.micro_tokens);
  v(Option{.key = "recompute_activations",
           .help =
               "Run each block again in the backward pass instead of keeping its activations: the\n"
               "same result with less memory, slower. It goes on by itself where memory is short",
           .recorded = kNever},
    o.recompute_activations);
  v(Option{.key = "learning_rate",
           .help = "Step of codebooks and scales, in units of each tensor's root mean square",
           .range = {{0, 1}}},
    o.learning_rate);
  v(Option{.key = "final_rate",
           .help = "Share of the rates that is left at the end",
           .range = {{0, 1}}},
    o.rates.final_rate);
  v(Option{.key = "schedule",
           .help = "How rates fall: constant (not), linear or cosine",
           .recorded = kIfChanged},
    o.rates.schedule);
  v(Option{.key = "warmup_steps",
           .help = "First steps, in which rates rise from 0",
           .range = at_least(0),
           .recorded = kIfChanged},
    o.rates.warmup_steps);
  v(Option{.key = "max_gradient_norm",
           .help = "Longer gradients of a step are scaled to this length (0: never)",
           .range = {{0, 1e9}},
           .recorded = kIfChanged},
    o.max_gradient_norm);
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
  v(Option{.key = "head",
           .help = "Train a quantized head that is not the embedding, without that",
           .recorded = kIfChanged},
    o.head);
  v(
      Option{
          .key = "norms", .help = "Leave the weights of norms as they are", .recorded = kIfChanged},
      o.norms);
  v(Option{.key = "biases", .help = "Leave biases as they are", .recorded = kIfChanged}, o.biases);
  v.derived("betas", std::vector<double>{o.p_step.adam.beta1, o.p_step.adam.beta2});
  v(Option{.key = "dtype",
           .help = "Arithmetic of the passes: float32, bfloat16, or auto: bfloat16 where its "
                   "matrix products are measured to be faster"},
    o.dtype);
  v(Option{.key = "checkpoint_minutes",
           .help = "Time between saved states",
           .range = {{0, 1e6}},
           .recorded = kNever},
    o.checkpoint_minutes);
  v(Option{.key = "seed"}, o.seed);
  v(Option{.key = "beta1", .recorded = kDerived}, o.p_step.adam.beta1);  // see betas
  v(Option{.key = "beta2", .recorded = kDerived}, o.p_step.adam.beta2);
  v(Option{.key = "epsilon", .recorded = kIfChanged}, o.p_step.adam.epsilon);
  v.constant(o.p_step.adam.moments);  // see optimizer_state
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
  v(Option{.key = "loss",
           .help =
               "What the steps lower: KL to the original (kl), cross-entropy of the text (ce),\n"
               "kl + ce-weight * ce (kl+ce), or the Jensen-Shannon divergence (js)",
           .recorded = kIfChanged},
    o.loss.loss);
  v(Option{.key = "ce_weight",
           .help = "kl+ce: weight of the cross-entropy",
           .range = {{0, 1000}},
           .recorded = kIfChanged},
    o.loss.ce_weight);
  v(Option{.key = "loss_temperature",
           .help = "kl, kl+ce, js: logits of both models are divided by it",
           .range = {{0.01, 100}},
           .recorded = kIfChanged},
    o.loss.temperature);
  v(Option{.key = "teacher_cache",
           .help =
               "Folder for the teacher's likeliest tokens of all training text: made once, then\n"
               "steps do not run the teacher",
           .recorded = kNever,
           .shows_default = false},
    o.teacher_cache);
  v(Option{.key = "teacher_top_k",
           .help =
               "Likeliest tokens of a position that --teacher-cache keeps (default 64); of the\n"
               "others it keeps the sum",
           .range = at_least(0),
           .recorded = kIfChanged,
           .shows_default = false},
    o.teacher_top_k);
  v(Option{.key = "optimizer",
           .help = "Of codebooks, scales and norms: adam, or lamb, whose steps have the length of\n"
                   "the learning rate times the tensor's norm",
           .recorded = kIfChanged},
    o.p_step.optimizer);
  v(Option{.key = "weight_decay",
           .help = "Share of the learning rate by which codebooks and scales go toward zero",
           .range = {{0, 1000}},
           .recorded = kIfChanged},
    o.p_step.weight_decay);
  v(Option{.key = "optimizer_state",
           .help =
               "Format of Adam's moments: float32, bfloat16, 8bit, or auto: bfloat16 for codes,\n"
               "float32 for the rest",
           .recorded = kIfChanged},
    o.optimizer_state);
  v(Option{.key = "offload_optimizer",
           .help =
               "Keep the optimizer's state in files of the work folder: the same result with less\n"
               "memory, slower",
           .recorded = kNever},
    o.offload_optimizer);
  v(Option{.key = "passes",
           .help = "second-pass, second-order: passes over the blocks, evenly spaced in the run",
           .range = {{1, 1000}},
           .recorded = kIfChanged},
    o.pass.passes);
  v(Option{.key = "pass_tokens",
           .help = "Training tokens that a pass makes its Hessians of; other ones each time",
           .range = at_least(1),
           .recorded = kIfChanged},
    o.pass.tokens);
  v(Option{.key = "pass_held_out_tokens",
           .help = "Held-out tokens that a pass judges its changes by; the validation has others",
           .range = at_least(1),
           .recorded = kIfChanged},
    o.pass.held_out_tokens);
  v(Option{.key = "pass_solve",
           .help =
               "second-pass: fit codebooks and scales to the new codes too, by the same objective",
           .recorded = kIfChanged},
    o.pass.solve);
  v(Option{.key = "longest_step",
           .help = "second-order: the longest step that is tried, in units of Newton's for one\n"
                   "matrix alone",
           .range = {{0, 1000}},
           .recorded = kIfChanged},
    o.pass.longest_step);
  v(Option{.key = "code_beta2", .recorded = kIfChanged}, o.code.adam.beta2);
  v(Option{.key = "code_epsilon", .recorded = kIfChanged}, o.code.adam.epsilon);
  v.constant(o.code.adam.moments);
}

// The student as it would be kept, at one moment of a run.
struct Validation {
  int64_t step = 0, tokens = 0;  // done
  double training_loss = 0;      // mean over the steps since the last validation; 0: none
  double kl = 0;                 // on the held-out windows
};

struct TuneResult {
  // Validation, nats a token; after: of the best state, which is what is kept.
  double kl_before = 0, kl_after = 0;
  int64_t tokens = 0, steps = 0;
  int64_t best_step = 0;
  double codes_changed = 0;  // share of code groups changed, every change counted
  double seconds = 0, tokens_per_second = 0;
  std::string dtype;
  bool diverged = false;
  std::vector<Validation> validations;  // the first before any step
};

}  // namespace bitsmith
