#include "compressor/tune/student_walk.h"

#include <set>
#include <utility>
#include <vector>

#include "compressor/quantize_model/gradient_stage.h"

namespace bitsmith {
namespace {

constexpr double kGradientsShare = 0.15;  // of a pass's time, for the progress line only

// Of the original's sampled loss over all windows, in batches that bound the memory of the inputs
// of all blocks. `report` gets the share done.
OutputGradients end_loss_gradients(const CodePassJob& job, const std::set<std::string>& modules,
                                   int64_t batch_tokens,
                                   const std::function<void(double)>& report) {
  const int64_t windows = job.windows.size(0);
  std::map<std::string, std::vector<LinearGradients>> parts;
  for (const MomentBatch& batch :
       gradient_batches(job.teacher.plan(), windows, /*in_parts=*/false)) {
    const auto own = output_gradients(
        job.teacher, job.windows.narrow(0, batch.first, batch.count), modules,
        {.seed = job.seed, .first_window = batch.first, .batch_tokens = batch_tokens},
        [&](double share) {
          report((static_cast<double>(batch.first) + share * static_cast<double>(batch.count)) /
                 static_cast<double>(windows));
        });
    for (const auto& [module, gradients] : own) parts[module].push_back(gradients);
  }
  OutputGradients all;
  for (const auto& [module, own] : parts) all[module] = joined(own);
  return all;
}

}  // namespace

StudentWalk::StudentWalk(const CodePassJob& job, bool toward_teacher) : job_(job) {
  const torch::NoGradGuard no_grad;
  Decoder& student = job.student.decoder();
  std::map<std::string, TunedLinear*> all;  // with embedding and head
  for (TunedLinear& tuned : job.student.linears()) all[tuned.linear->name] = &tuned;
  std::set<std::string> modules;
  for (const auto& block : student.blocks()) {
    for (const Linear* linear : block->linears()) {
      if (!linear->representation) continue;
      const RepresentationSpec spec = linear->representation->spec();
      const LinearPlan shape = {.name = linear->name,
                                .out_features = linear->out_features,
                                .in_features = linear->in_features};
      plan_.matrices.insert_or_assign(linear->name,
                                      PlannedMatrix{shape, spec, default_method(spec)});
      matrices_[linear->name].tuned = all.at(linear->name);
      modules.insert(linear->name);
    }
  }
  plan_.blocks = student.plan().num_blocks();
  options_.objective = ErrorMeasure::kGuided;
  options_.row_weights = RowWeights::kGuided;
  options_.cross_term = toward_teacher ? 1 : 0;
  options_.estimate_cross_term = toward_teacher;
  options_.dtype = student.dtype() == torch::kFloat32 ? "float32" : "bfloat16";
  options_.batch_tokens = job.micro_windows * job.windows.size(1);
  auto gradients = end_loss_gradients(job, modules, options_.batch_tokens, [&](double share) {
    job.progress(kGradientsShare * share, "gradients");
  });
  // With d the gradient of a token's loss at the outputs and x its inputs, the mean loss grows by
  // half of E d^2 E (dW x)^2. H is 2 E x x^T.
  for (const auto& [module, own] : gradients)
    matrices_.at(module).curvature = own.rows.mean().item<double>() / 2;
  walk_ = std::make_unique<BlockQuantizer>(
      job.teacher, plan_, options_, student.embed(job.windows), std::move(gradients),
      OutputMomentSource(), BlockFinetuner(), context_,
      toward_teacher ? job.teacher.embed(job.windows) : torch::Tensor());
}

void StudentWalk::report(int64_t block, double share, const std::string& detail) const {
  const auto done = static_cast<double>(block) + share;
  job_.progress(kGradientsShare + (1 - kGradientsShare) * done / static_cast<double>(plan_.blocks),
                detail);
}

void StudentWalk::each_objective(int64_t block, const MatrixUser& use) {
  const torch::NoGradGuard no_grad;
  const auto place = static_cast<size_t>(block);
  walk_->each_objective(
      *job_.student.decoder().blocks()[place], *job_.teacher.blocks()[place],
      [&](double share, const std::string& detail) { report(block, share, detail); },
      [&](Linear& linear, const torch::Tensor& weight, const Objective& objective) {
        const Matrix& matrix = matrices_.at(linear.name);
        Objective scaled = objective;
        scaled.output_factor = objective.output_factor * matrix.curvature;
        use(*matrix.tuned, weight, scaled);
      });
}

void StudentWalk::advance(int64_t block) {
  const torch::NoGradGuard no_grad;
  const auto place = static_cast<size_t>(block);
  walk_->advance(*job_.student.decoder().blocks()[place], *job_.teacher.blocks()[place],
                 [&](double share, const std::string& detail) { report(block, share, detail); });
}

}  // namespace bitsmith
