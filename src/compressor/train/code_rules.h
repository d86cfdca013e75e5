// The code rules by name: the one list that the command line, its help and the prediction of memory
// come from.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "compressor/train/code_rule.h"
#include "compressor/train/rules/latent_weights.h"
#include "compressor/train/rules/stochastic_rounding.h"

namespace bitsmith {

// What the rules may be asked for. Each reads its own.
struct CodeRuleOptions {
  VSchedule schedule;
  AdamOptions adam = kCodeAdam;
  // Length of the update whose nearest codes are searched, in units of the matrix's distance to its
  // original, times Adam's direction.
  double code_step = 3.0;
  SubspaceOptions subspace;
  LatentOptions latent;
  StochasticRoundingOptions rounding;
};

// What searches codes between the steps, in a walk over the blocks of the whole model, in place of
// V steps: second passes of one-shot quantization, or second-order V steps.
enum class CodePass { kNone, kSecondPass, kSecondOrder };

struct NamedCodeRule {
  const char* name;      // of `bitsmith tune --strategy`
  const char* summary;   // for its help: what moves, and how
  int moments;           // of Adam that the rule keeps of each weight
  int64_t latent_bytes;  // a weight: of the rest of its state
  std::unique_ptr<CodeRule> (*make)(const CodedTerm& term, const RuleSetup& setup,
                                    const CodeRuleOptions& options);  // null: codes stay
  CodePass pass = CodePass::kNone;
};

std::span<const NamedCodeRule> code_rules();
// UsageError for an unknown name gives the names that there are.
const NamedCodeRule& find_code_rule(const std::string& name);
// Bytes a weight of the rule's state after the first step.
double state_bytes_a_weight(const NamedCodeRule& rule, MomentFormat format);
// `seed`: of all random draws. `memory`: see RuleSetup.
CodeRuleFactory code_rule_factory(const std::string& name, const CodeRuleOptions& options,
                                  uint64_t seed = 0, StateMemory& memory = StateMemory::plain());
std::vector<std::string> code_rule_names();
// "pv: ...; continuous: ...", for the help.
std::string code_rule_help();

}  // namespace bitsmith
