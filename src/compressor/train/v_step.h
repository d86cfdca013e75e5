// V steps toward a target (PV-Tuning, Malinovskii et al. 2024, section 3.3): codes whose values are
// the nearest to W + update, for all code groups or for a subspace that keeps the trust ratio.
#pragma once
#include <cstdint>
#include <string>

#include "base/random.h"
#include "compressor/representation/representation.h"
#include "compressor/torch.h"

namespace bitsmith {

// How the code groups that may change are drawn (section 3.4 and appendix O.5). kNorm: those with
// the largest updates. kUniform: at random. kProportional: at random without replacement, the next
// one with a probability proportional to the norm of its update.
enum class Sampling { kNorm, kUniform, kProportional };

// How they are written: "norm", "uniform", "proportional". UsageError names the choices.
std::string option_text(Sampling sampling);
void parse_option(const std::string& text, Sampling& sampling);

struct SubspaceOptions {
  Sampling sampling = Sampling::kNorm;
  // Largest root mean square change of a matrix in one V step, in units of its distance to its
  // original; falls with the run's rates. Raise it where gradients are good (steps of many tokens).
  double trust_ratio = 0.03;
  // Share of the code groups that is searched at a time. Only speed: the trust ratio ends the
  // search.
  double chunk = 0.01;
  // Chunks at most: with kNorm, code groups beyond these have updates too small to flip a code.
  int max_chunks = 10;
};

// Random draws of one matrix: a function of seed, matrix and step alone, so that a run that goes on
// draws what it would have drawn.
struct CodeDraws {
  uint64_t seed = 0;
  int64_t matrix = 0;
  Random at(int64_t step) const;
};

struct VStepResult {
  torch::Tensor changed;  // [n] int64: the code groups whose codes changed, as flat indices
  double change = 0;      // root mean square of W_new - W
};

// One V step in a subspace. `update` [out, in] float32: the target is W + update. `distance`: see
// CodeRuleFactory. (The paper's trust ratio is a share of ||W||.) Code groups are searched chunk by
// chunk in the order of the sampling; the first whose change would leave the trust region ends the
// step, and it and those after it keep their codes. One may always change. All others stay as they
// are.
VStepResult v_step(CodedTerm& term, const torch::Tensor& update, double distance,
                   const SubspaceOptions& options, Random random = Random());

// The first `count` code groups [count] int64 in the order of the sampling; importance [code
// groups] float32: the squared norms of their updates.
torch::Tensor choose_subspace(const torch::Tensor& importance, int64_t count, Sampling sampling,
                              Random& random);

// Gives all code groups `codes` [num_code_groups, codes per code group]; returns those whose codes
// are others now, ascending.
torch::Tensor assign_all_codes(CodedTerm& term, const torch::Tensor& codes);

}  // namespace bitsmith
