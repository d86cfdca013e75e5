#include "compressor/tune/second_order.h"

#include <cmath>
#include <vector>

#include "compressor/objective/row_products.h"
#include "compressor/tune/held_out_kl.h"
#include "compressor/tune/student_walk.h"

namespace bitsmith {
namespace {

constexpr int kSteps = 5;               // that are tried
constexpr double kStepRatio = 0.25;     // of one to the one before
constexpr double kDamping = 0.01;       // as in one-shot quantization
constexpr double kSearchesShare = 0.9;  // of the time, for the progress line only
// A matrix of which a larger share of code groups would change stays as it is in a step: so far its
// gradient does not hold, and changes take memory.
constexpr double kMostChanged = 0.05;

// Codes that a step gives some code groups of a matrix, and those that they had.
struct CodesOfStep {
  void make() const { put(after); }
  void undo() const { put(before); }
  // What the mean gradient asked for has been done.
  void spend_gradient() const {
    const int64_t g = tuned.representation().coded().code_group_size();
    tuned.rule->mean_gradient().view({-1, g}).index_fill_(0, code_groups, 0.0);
  }

  TunedLinear& tuned;
  torch::Tensor code_groups;    // [n] int64
  torch::Tensor before, after;  // [n, codes per code group] int32

 private:
  void put(const torch::Tensor& codes) const {
    tuned.representation().coded().assign_codes(code_groups, codes);
    tuned.refresh();
  }
};

struct ModelStep {
  double length;
  std::vector<CodesOfStep> matrices = {};  // in which any code changes
};

void add_searched(TunedLinear& tuned, const Objective& objective, std::vector<ModelStep>& steps) {
  const Representation& representation = tuned.representation();
  const CodedTerm& term = representation.coded();
  const Objective own = representation.to_code_space(damped(objective, kDamping));
  const auto present = term.dequantize();
  const auto newton = newton_update(tuned.rule->mean_gradient(), own, 1);
  const double most = kMostChanged * static_cast<double>(term.num_code_groups());
  for (ModelStep& step : steps) {
    // A diagonal G scales the cost of a whole row, and leaves its codes alone.
    const auto codes = term.search_codes(present + step.length * newton, own.hessian, {});
    const auto changed = (codes != term.codes()).any(1).nonzero().squeeze(1);
    if (changed.numel() == 0 || static_cast<double>(changed.numel()) > most) continue;
    step.matrices.push_back(
        {tuned, changed, term.codes().index_select(0, changed), codes.index_select(0, changed)});
  }
}

// Codes of all steps, searched in one walk over the student as it is.
std::vector<ModelStep> search_steps(const CodePassJob& job) {
  std::vector<ModelStep> steps;
  for (int i = 0; i < kSteps; ++i)
    steps.push_back({job.options.longest_step * std::pow(kStepRatio, i)});
  CodePassJob searches = job;
  searches.progress = [&](double share, const std::string& detail) {
    job.progress(kSearchesShare * share, detail);
  };
  StudentWalk walk(searches, /*toward_teacher=*/false);
  const int64_t blocks = job.teacher.plan().num_blocks();
  for (int64_t block = 0; block < blocks; ++block) {
    walk.each_objective(block,
                        [&](TunedLinear& tuned, const torch::Tensor&, const Objective& objective) {
                          add_searched(tuned, objective, steps);
                        });
    if (block + 1 < blocks) walk.advance(block);
  }
  return steps;
}

torch::Tensor with_raised_diagonal(const torch::Tensor& matrix, double share) {
  if (!matrix.defined()) return matrix;
  auto raised = matrix.clone();
  auto diagonal = raised.dim() == 2 ? raised.diagonal() : raised;
  diagonal.add_(share * diagonal.mean().item<double>());
  return raised;
}

}  // namespace

Objective damped(const Objective& objective, double share) {
  const torch::NoGradGuard no_grad;
  Objective raised(with_raised_diagonal(objective.hessian, share));
  raised.output_factor = with_raised_diagonal(objective.output_factor, share);
  return raised;
}

torch::Tensor newton_update(const torch::Tensor& gradient, const Objective& objective,
                            double step) {
  const torch::NoGradGuard no_grad;
  torch::Tensor update = gradient;
  if (objective.hessian.defined()) {
    const auto factor = objective.factor(gradient.size(1), /*damping=*/0);  // H^-1 = U^T U
    update = row_chunked_matmul(row_chunked_matmul(gradient, factor.t().contiguous()), factor);
  }
  const auto weights = objective.row_weights();
  if (weights.defined()) {
    const auto inverse =
        torch::where(weights > 0, weights.reciprocal(), torch::zeros_like(weights));
    update = update * inverse.unsqueeze(1);
  }
  return -step * update;
}

SecondOrderOutcome second_order_step(const CodePassJob& job) {
  const torch::NoGradGuard no_grad;
  HeldOutKl held_out(job.student.decoder(), job.teacher, job.held_out, job.micro_windows);
  SecondOrderOutcome outcome{.kl = held_out.from_block(0)};
  const std::vector<ModelStep> steps = search_steps(job);
  const ModelStep* best = nullptr;
  const auto make = [](const ModelStep& step) {
    for (const CodesOfStep& matrix : step.matrices) matrix.make();
  };
  for (size_t i = 0; i < steps.size(); ++i) {
    job.progress(kSearchesShare + (1 - kSearchesShare) * static_cast<double>(i) / kSteps,
                 "length of the step");
    if (steps[i].matrices.empty()) continue;
    make(steps[i]);
    const double kl = held_out.from_block(0);
    for (const CodesOfStep& matrix : steps[i].matrices) matrix.undo();
    if (!(kl < outcome.kl)) continue;
    outcome.kl = kl;
    best = &steps[i];
  }
  if (best == nullptr) return outcome;
  make(*best);
  outcome.step = best->length;
  for (const CodesOfStep& matrix : best->matrices) {
    matrix.spend_gradient();
    outcome.changed += matrix.code_groups.numel();
  }
  return outcome;
}

}  // namespace bitsmith
