// The interface of what moves codes during training (the V step and its rivals; PV-Tuning,
// Malinovskii et al. 2024, section 3 and appendices E and F). One file a rule in rules/; the names
// that a user gives are in code_rules.h. The trainer and the tuning step know no rule.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "compressor/representation/representation.h"
#include "compressor/train/adam.h"
#include "compressor/train/state_visitor.h"
#include "compressor/train/v_step.h"

namespace bitsmith {

// Where a run is.
struct RunPosition {
  int64_t step = 1;  // number of the step that is taken, from 1
  double share = 0;  // of the run that is done, in [0, 1)
  double rate = 1;   // what is left of all step lengths: falls from 1 over the run
};

// What a search for codes did to one matrix.
struct CodeChange {
  int64_t changed = 0;  // code groups whose codes are others now
  // Mean square of Adam's direction. Gradients of step t that are noise alone give
  // (1 - b)/(1 + b) (1 - b^2t)/(1 - b^t)^2, b the momentum; one that never changes, 1.
  double update_power = 0;
};

// One object moves the codes of one matrix and holds the state for it. Not thread-safe.
class CodeRule {
 public:
  virtual ~CodeRule() = default;

  // After the backward passes of a step, each step once: `gradient` [out, in] float32 of the loss
  // in what `term` gives. May assign codes; nothing where this step searches none.
  virtual std::optional<CodeChange> step(CodedTerm& term, const torch::Tensor& gradient,
                                         const RunPosition& at) = 0;
  // All that a step reads and changes, besides codes and continuous parameters. `name`: of the
  // matrix; every tensor's name begins with it.
  virtual void visit(const std::string& name, const StateVisitor& visitor) = 0;
  // Of a rule that leaves codes to passes over the blocks: the mean of the gradients so far, [out,
  // in] float32, a live tensor. Undefined: it keeps none.
  virtual torch::Tensor mean_gradient() const { return {}; }
};

// Makes the rule of one matrix at the start of a run. `distance`: root mean square of its weights'
// distance to the original ones. That is about the distance between neighboring codes, and shrinks
// with every bit. `matrix`: its place among the matrices of the run. Null: codes stay.
using CodeRuleFactory = std::function<std::unique_ptr<CodeRule>(const CodedTerm& term,
                                                                double distance, int64_t matrix)>;

// When codes are searched. Options of all rules.
struct VSchedule {
  // P steps from one V step to the next. Gradients of a few thousand tokens are nearly all noise
  // for a single code group: fewer V steps follow better gradients. Lower it for steps of many
  // tokens.
  int64_t p_steps = 4;
  // Share of the run before the first V step: the P steps go first, as they bring most and move
  // what codes stand for. 0: from the first interval on.
  double start = 0.4;

  // P and V steps by turns, each with a gradient of its own (the paper's algorithm 2): a step that
  // searches codes moves nothing else. Otherwise one gradient serves both (algorithm 3).
  bool alternate = false;

  bool due(const RunPosition& at) const {
    return at.share >= start && at.step % (alternate ? p_steps + 1 : p_steps) == 0;
  }
};

// Adam on the gradient of a matrix with codes. Its momentum is long, for the same reason: it
// averages over about 2 / (1 - beta1) steps. Lower it for steps of many tokens.
inline constexpr AdamOptions kCodeAdam = {.beta1 = 0.98, .moments = MomentFormat::kBFloat16};

// What a rule is given of its matrix and its run.
struct RuleSetup {
  double distance = 1;  // see CodeRuleFactory
  VSchedule schedule = {};
  AdamOptions adam = kCodeAdam;
  CodeDraws draws = {};
  StateMemory* memory = &StateMemory::plain();  // where the rule's state lies; outlives the rule
};

}  // namespace bitsmith
