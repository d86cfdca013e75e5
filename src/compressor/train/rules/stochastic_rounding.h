// Stochastic rounding (PV-Tuning, appendix F): the linearized V step over the whole space, but each
// code group goes at random to one of the two nearest codes. Updates shorter than the distance
// between codes then move the matrix in the mean, at the price of noise.
#pragma once
#include <memory>

#include "compressor/train/code_rule.h"

namespace bitsmith {

struct StochasticRoundingOptions {
  // Length of the update, in units of the matrix's distance to its original, times Adam's
  // direction; falls with the run's rates. About a third of it times the direction is the share of
  // code groups that a V step moves.
  double step = 0.03;
  // T: a candidate at the distance d from the target is drawn with a probability proportional to
  // d^(-1/T). 1: appendix F's formula; 0.2: what the paper's results were made with (appendix K);
  // 0: always the nearest.
  double temperature = 1.0;
};

// Codes [num_code_groups, codes per code group] of one such rounding of `target` [out, in] float32.
// The candidates are the codes that search_codes() finds and the best that differ from them in one
// place: the two nearest, where a code group has one code. With temperature 1 the mean over draws
// is the target where that lies between two levels of a uniform grid, and otherwise is biased
// toward the candidates (equation 14).
torch::Tensor round_stochastically(const CodedTerm& term, const torch::Tensor& target,
                                   double temperature, Random random);

// The rule: at a V step all codes are a rounding of W - rate * step * distance * direction. Its
// state is Adam's moments of the gradient; momentum is kept, since a code group moves by its update
// only in the mean.
std::unique_ptr<CodeRule> stochastic_rounding(const StochasticRoundingOptions& options,
                                              const RuleSetup& setup);

}  // namespace bitsmith
