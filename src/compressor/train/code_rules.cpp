#include "compressor/train/code_rules.h"

#include "base/error.h"
#include "compressor/train/rules/averaged_gradient.h"
#include "compressor/train/rules/naive_pv.h"
#include "compressor/train/rules/pv_straight_through.h"
#include "compressor/train/rules/straight_through.h"
#include "compressor/train/rules/subspace_pv.h"

namespace bitsmith {
namespace {

constexpr NamedCodeRule kRules[] = {
    {"pv",
     "codes of the few code groups whose updates are largest, by trust ratio (the linearized "
     "subspace V step of PV-Tuning)",
     2, 0,
     [](const CodedTerm&, const RuleSetup& setup, const CodeRuleOptions& o) {
       return subspace_pv(o.code_step, o.subspace, setup);
     }},
    {"pv+ste", "the same toward latent weights, in which small steps add up", 2, 4,
     [](const CodedTerm& term, const RuleSetup& setup, const CodeRuleOptions& o) {
       return pv_straight_through(term, o.latent, o.subspace, setup);
     }},
    {"ste", "all codes, as the nearest to latent weights (straight-through estimation)", 2, 4,
     [](const CodedTerm& term, const RuleSetup& setup, const CodeRuleOptions& o) {
       return straight_through(term, o.latent, setup);
     }},
    {"stochastic-rounding", "all codes, at random to one of the two nearest to a small step", 2, 0,
     [](const CodedTerm&, const RuleSetup& setup, const CodeRuleOptions& o) {
       return stochastic_rounding(o.rounding, setup);
     }},
    {"naive-pv", "all codes, as the nearest to one step (the linearized V step)", 2, 0,
     [](const CodedTerm&, const RuleSetup& setup, const CodeRuleOptions& o) {
       return naive_pv(o.code_step, setup);
     }},
    {"second-pass",
     "codes by second passes of one-shot quantization: block after block toward the original's "
     "outputs, kept where the KL on held-out text falls",
     0, 0,
     [](const CodedTerm&, const RuleSetup&, const CodeRuleOptions&) {
       return std::unique_ptr<CodeRule>();
     },
     CodePass::kSecondPass},
    {"second-order",
     "codes of a step by the mean gradient in the metric of the Hessians, its length by the KL on "
     "held-out text",
     0, 4,
     [](const CodedTerm& term, const RuleSetup& setup, const CodeRuleOptions& o) {
       return averaged_gradient(term, o.adam.beta1, setup);
     },
     CodePass::kSecondOrder},
    {"continuous", "codebooks, scales, zero points and norms alone, which the others train as well",
     0, 0,
     [](const CodedTerm&, const RuleSetup&, const CodeRuleOptions&) {
       return std::unique_ptr<CodeRule>();
     }},
};

}  // namespace

std::span<const NamedCodeRule> code_rules() { return kRules; }

const NamedCodeRule& find_code_rule(const std::string& name) {
  std::string names;
  for (const NamedCodeRule& rule : kRules) {
    if (name == rule.name) return rule;
    names += concat(names.empty() ? "" : ", ", rule.name);
  }
  throw UsageError(concat("unknown strategy '", excerpt(name), "': choose one of ", names));
}

double state_bytes_a_weight(const NamedCodeRule& rule, MomentFormat format) {
  const double moments = rule.moments > 0 ? rule.moments * bytes_a_moment(format) : 0;
  return moments + static_cast<double>(rule.latent_bytes);
}

CodeRuleFactory code_rule_factory(const std::string& name, const CodeRuleOptions& options,
                                  uint64_t seed, StateMemory& memory) {
  return [make = find_code_rule(name).make, options, seed, &memory](
             const CodedTerm& term, double distance, int64_t matrix) {
    const RuleSetup setup = {.distance = distance,
                             .schedule = options.schedule,
                             .adam = options.adam,
                             .draws = {.seed = seed, .matrix = matrix},
                             .memory = &memory};
    return make(term, setup, options);
  };
}

std::vector<std::string> code_rule_names() {
  std::vector<std::string> names;
  for (const NamedCodeRule& rule : kRules) names.push_back(rule.name);
  return names;
}

std::string code_rule_help() {
  std::string text;
  for (const NamedCodeRule& rule : kRules) {
    text += concat(text.empty() ? "" : "\n", rule.name, ": ", rule.summary);
  }
  return text;
}

}  // namespace bitsmith
