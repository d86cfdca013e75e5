#include "compressor/tune/second_pass.h"

#include <optional>
#include <vector>

#include "compressor/quantize/continuous_solve.h"
#include "compressor/train/v_step.h"
#include "compressor/tune/held_out_kl.h"
#include "compressor/tune/student_walk.h"

namespace bitsmith {
namespace {

constexpr int kSolveIterations = 8;
constexpr double kSearchedShare = 0.85;  // of a block, for the progress line only

// All that a pass may change of a matrix.
class MatrixValues {
 public:
  explicit MatrixValues(const TunedLinear& tuned)
      : codes_(tuned.representation().coded().codes().clone()) {
    for (const Trainable& c : tuned.continuous) continuous_.push_back(c.value.detach().clone());
  }
  void give_to(TunedLinear& tuned) const {
    const torch::NoGradGuard no_grad;
    tuned.representation().coded().assign_codes({}, codes_);
    for (size_t i = 0; i < continuous_.size(); ++i) tuned.continuous[i].value.copy_(continuous_[i]);
    tuned.refresh();
  }
  // Code groups with other codes.
  int64_t differences(const MatrixValues& other) const {
    return (codes_ != other.codes_).any(1).sum().item<int64_t>();
  }

 private:
  torch::Tensor codes_;
  std::vector<torch::Tensor> continuous_;
};

struct MatrixChange {
  void make() const { after->give_to(tuned); }
  void undo() const { before.give_to(tuned); }

  TunedLinear& tuned;
  MatrixValues before;
  std::optional<MatrixValues> after = {};
};

// Of the changes of a block, which have been made, keeps what lowers the KL and undoes the rest.
// `kl`: before them. kl_now(): of the student as it is.
BlockOutcome judge(const std::vector<MatrixChange>& changes, double kl,
                   const std::function<double()>& kl_now) {
  BlockOutcome outcome{.searched = std::ssize(changes), .kl = kl};
  const auto lowers = [&] {
    const double now = kl_now();
    const bool lower = now < outcome.kl;
    if (lower) outcome.kl = now;
    return lower;
  };
  const auto count = [&](const MatrixChange& change) {
    ++outcome.kept;
    outcome.changed += change.before.differences(*change.after);
  };
  if (changes.empty()) return outcome;
  if (lowers()) {
    for (const MatrixChange& change : changes) count(change);
    return outcome;
  }
  for (const MatrixChange& change : changes) change.undo();
  if (changes.size() == 1) return outcome;
  for (const MatrixChange& change : changes) {
    change.make();
    if (lowers())
      count(change);
    else
      change.undo();
  }
  return outcome;
}

}  // namespace

void search_toward(TunedLinear& tuned, const torch::Tensor& weight, const Objective& objective,
                   bool solve) {
  const torch::NoGradGuard no_grad;
  Representation& representation = tuned.representation();
  CodedTerm& term = representation.coded();
  const auto target = objective.target(weight);
  // A diagonal factor of the outputs scales the cost of a whole row, and leaves its codes alone.
  const Objective of_codes =
      objective.joins_rows() ? objective.centered() : Objective(objective.hessian);
  const auto away = representation.to_code_space(target - representation.dequantize());
  assign_all_codes(term, term.search_codes(term.dequantize() + away,
                                           representation.to_code_space(of_codes), {}));
  if (solve) solve_continuous(representation, target, objective.centered(), kSolveIterations);
  tuned.refresh();
}

void second_pass(const CodePassJob& job, int64_t first_block,
                 const std::function<void(const BlockOutcome&)>& done) {
  const torch::NoGradGuard no_grad;
  const int64_t blocks = job.teacher.plan().num_blocks();
  StudentWalk walk(job, /*toward_teacher=*/true);
  HeldOutKl held_out(job.student.decoder(), job.teacher, job.held_out, job.micro_windows);
  for (int64_t block = 0; block < first_block; ++block) walk.advance(block);
  double kl = held_out.from_block(first_block);
  for (int64_t block = first_block; block < blocks; ++block) {
    std::vector<MatrixChange> changes;
    BlockOutcome outcome;
    try {
      walk.each_objective(
          block, [&](TunedLinear& tuned, const torch::Tensor& weight, const Objective& objective) {
            changes.push_back({tuned, MatrixValues(tuned)});
            search_toward(tuned, weight, objective, job.options.solve);
            changes.back().after.emplace(tuned);
          });
      outcome = judge(changes, kl, [&] {
        walk.report(block, kSearchedShare, "held-out KL");
        return held_out.from_block(block);
      });
    } catch (...) {
      for (const MatrixChange& change : changes) change.undo();
      throw;
    }
    outcome.block = block;
    kl = outcome.kl;
    done(outcome);
    if (block + 1 < blocks) walk.advance(block);
  }
}

}  // namespace bitsmith
