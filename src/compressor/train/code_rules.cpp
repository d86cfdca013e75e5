#include "compressor/train/code_rules.h"

#include "base/error.h"

namespace bitsmith {
namespace {

constexpr NamedCodeRule kRules[] = {
    {"pv", "codes by the subspace V step of PV-Tuning, and all that continuous trains", 4,
     [](const CodedTerm&, double distance, const CodeRuleOptions& o) {
       return subspace_pv(distance, o.pv, o.schedule, o.adam);
     }},
    {"ste",
     "codes as the nearest to dense latent weights (straight-through estimation), and all that "
     "continuous trains",
     8,
     [](const CodedTerm& term, double distance, const CodeRuleOptions& o) {
       return straight_through(term, distance, o.straight_through, o.schedule, o.adam);
     }},
    {"continuous", "codebooks, scales, zero points and norms alone", 0,
     [](const CodedTerm&, double, const CodeRuleOptions&) { return std::unique_ptr<CodeRule>(); }},
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

CodeRuleFactory code_rule_factory(const std::string& name, const CodeRuleOptions& options) {
  return [make = find_code_rule(name).make, options](const CodedTerm& term, double distance) {
    return make(term, distance, options);
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
