#include "compressor/tune/trainer.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/random.h"
#include "compressor/train/loss.h"
#include "compressor/tune/code_pass.h"
#include "compressor/tune/tune_log.h"
#include "compressor/tune/tuning_step.h"

namespace bitsmith {
namespace {

// A loss this many times the first one is divergence.
constexpr double kDivergence = 4.0;
constexpr double kValidationShare = 0.1;     // of the budget between two validations
constexpr int64_t kValidationTokens = 8192;  // at most: enough to rank states
constexpr uint64_t kPassSeed = 0x5bd1e995;   // windows of passes have an order of their own

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Windows of step `step`: consecutive places in an endless sequence of seeded permutations, so that
// the data order is a function of the step alone.
std::vector<int64_t> step_windows(int64_t step, int64_t batch, int64_t windows, uint64_t seed) {
  std::vector<int64_t> chosen, permutation(static_cast<size_t>(windows));
  int64_t drawn_epoch = -1;
  for (int64_t place = step * batch; place < (step + 1) * batch; ++place) {
    const int64_t epoch = place / windows;
    if (epoch != drawn_epoch) {
      drawn_epoch = epoch;
      std::iota(permutation.begin(), permutation.end(), 0);
      Random random(seed, static_cast<uint64_t>(epoch));
      for (int64_t i = windows - 1; i > 0; --i) {
        std::swap(permutation[i], permutation[random.below(static_cast<uint32_t>(i + 1))]);
      }
    }
    chosen.push_back(permutation[place % windows]);
  }
  return chosen;
}

class Run {
 public:
  Run(Student& student, Decoder& teacher, Teacher& targets, const TokenDataset& data,
      const TuneOptions& options, const std::string& request_hash,
      const std::filesystem::path& work, const std::filesystem::path& log,
      const RunContext& context)
      : student_(student),
        teacher_(teacher),
        targets_(targets),
        data_(data),
        options_(options),
        work_(work),
        context_(context),
        ranks_(*context.communicator),
        log_(log, ranks_.first()),
        started_(now()) {
    length_ = data.train.size(1);
    const int64_t all = data.validation.size(0);
    const int64_t judging = judging_windows(all);
    const int64_t held_out = std::max<int64_t>(1, kValidationTokens / length_);
    validation_ = data.validation.narrow(0, 0, std::min(held_out, all - judging));
    judging_ = data.validation.narrow(0, all - judging, judging);
    batch_ = std::max<int64_t>(1, options.batch_tokens / length_);
    micro_ = std::min(options.micro_windows(length_), batch_);
    total_steps_ =
        options.tokens > 0 ? std::max<int64_t>(1, options.tokens / (batch_ * length_)) : 0;
    for (auto& tuned : student.linears())
      code_groups_ += tuned.representation().coded().num_code_groups();
    progress_.request_hash = request_hash;
    warn_of_idle_ranks();
  }

  TuneResult run() {
    if (load_tune_state(work_ / "state.safetensors", student_, progress_)) {
      log_info(concat("resuming after step ", progress_.step));
    } else {
      progress_.first_kl = progress_.best_kl = validate();
      keep_validation(progress_.first_kl);
      save_student_best();
    }
    begin_task("tuning");
    saved_ = now();
    for (;;) {
      const bool done = finished();
      if (done || validation_due()) validate_and_keep();
      if (done) return result(false);
      if (pass_due()) {
        pass();
        continue;
      }
      const double loss = step();
      ++steps_here_;
      if (!std::isfinite(loss) || loss > kDivergence * std::max(first_loss(), 0.05)) {
        log_warning(concat("the loss is ", loss, " after step ", progress_.step,
                           ": stopped, the best state is kept; a lower learning rate, or a shorter "
                           "step of the strategy (trust ratio, latent rate), may help"));
        return result(true);
      }
      show(loss);
      const bool stop = context_.cancelled_anywhere();
      if (stop || ranks_.broadcast_value(save_due())) save_state();
      if (stop) stop_here();
    }
  }

 private:
  // A step has this many micro-batches at least, or some ranks have none.
  void warn_of_idle_ranks() const {
    const int64_t micro_batches = (batch_ + micro_ - 1) / micro_;
    if (ranks_.size() <= micro_batches) return;
    log_warning(concat("a step has ", micro_batches, " forward passes for ", ranks_.size(),
                       " processes: raise --batch-tokens, lower --micro-tokens, or start fewer"));
  }

  double elapsed() const { return progress_.elapsed_seconds + now() - started_; }
  // Share of the budget used. Of time, by the first rank's clock. Collective.
  double fraction() const {
    return total_steps_ > 0
               ? static_cast<double>(progress_.step) / static_cast<double>(total_steps_)
               : ranks_.broadcast_value(elapsed() / (options_.minutes * 60));
  }
  bool finished() const { return fraction() >= 1.0; }

  bool trains_kl() const { return options_.loss.loss == Loss::kKl; }
  // What divergence is measured by: of other losses, the mean up to the first validation.
  double first_loss() const {
    if (trains_kl()) return progress_.first_kl;
    return progress_.validations.size() > 1 ? progress_.validations[1].training_loss
                                            : std::numeric_limits<double>::infinity();
  }

  double step() {
    const double share = fraction();
    const auto windows = step_windows(progress_.step, batch_, data_.train.size(0), options_.seed);
    const auto places = torch::tensor(windows, torch::kInt64);
    const int64_t step = progress_.step + 1;
    const double rate = options_.rates.rate(step, share);
    const TuningStepResult done =
        tuning_step(student_, targets_, {places, data_.train.index_select(0, places)},
                    {.step = step, .share = share, .rate = rate},
                    {.micro_windows = micro_,
                     .kept = options_.kept_activations(),
                     .learning_rate = options_.learning_rate,
                     .p_step = options_.p_step_options(),
                     .max_gradient_norm = options_.max_gradient_norm,
                     .loss = options_.loss,
                     .schedule = options_.code.schedule});
    if (!std::isfinite(done.loss)) return done.loss;

    progress_.step = step;
    progress_.training_loss_sum += done.loss;
    if (done.codes) progress_.changed += done.codes->changed;
    smooth_loss_ = smooth_loss_ > 0 ? 0.9 * smooth_loss_ + 0.1 * done.loss : done.loss;
    log_.step(step, step * batch_ * length_, options_.loss.loss, done, elapsed());
    return done.loss;
  }

  // Of the held-out windows, those that passes judge by: the last ones.
  int64_t judging_windows(int64_t all) const {
    if (!options_.has_passes()) return 0;
    return std::clamp<int64_t>(options_.pass.held_out_tokens / length_, 1, all / 2);
  }
  bool pass_due() const {
    return options_.has_passes() && progress_.passes < options_.pass.passes &&
           fraction() * static_cast<double>(options_.pass.passes + 1) >=
               static_cast<double>(progress_.passes + 1);
  }

  // What is left of the present pass, between two steps.
  void pass() {
    const int64_t count =
        std::clamp<int64_t>(options_.pass.tokens / length_, 2, data_.train.size(0));
    const auto places = torch::tensor(
        step_windows(progress_.passes, count, data_.train.size(0), options_.seed ^ kPassSeed),
        torch::kInt64);
    const std::string name = concat("pass ", progress_.passes + 1, " of ", options_.pass.passes);
    begin_task(name);
    double kl = 0;
    const CodePassJob job = {
        .student = student_,
        .teacher = teacher_,
        .windows = data_.train.index_select(0, places),
        .held_out = judging_,
        .micro_windows = micro_,
        .options = options_.pass,
        .seed = options_.seed,
        .progress = [&](double share, const std::string& detail) {
          if (context_.cancelled()) throw Interrupted(concat(name, " was interrupted"));
          task_->update(share,
                        kl > 0 ? concat("KL ", std::round(kl * 1e4) / 1e4, "  ", detail) : detail);
        }};
    try {
      code_pass(find_code_rule(options_.strategy).pass, job, progress_.pass_blocks,
                [&](const CodePassOutcome& outcome) {
                  kl = outcome.kl;
                  progress_.pass_blocks = outcome.blocks;
                  progress_.changed += outcome.changed;
                  log_.pass(progress_.passes + 1, outcome, elapsed());
                  if (save_due()) save_state();
                });
    } catch (const Interrupted&) {
      save_state();
      stop_here();
    }
    ++progress_.passes;
    progress_.pass_blocks = 0;
    save_state();
    begin_task("tuning");
  }

  void begin_task(const std::string& name) {
    task_.reset();
    task_.emplace(context_, name);
    task_start_ = std::min(1.0, fraction());
  }
  void show(double loss) {
    char text[160];
    std::snprintf(
        text, sizeof(text), "step %ld  %s %.4f  best KL %.4f  %.0f tokens/s  codes changed %.3f %%",
        static_cast<long>(progress_.step),
        trains_kl() ? "KL" : option_text(options_.loss.loss).c_str(), smooth_loss_,
        progress_.best_kl, tokens_per_second(),
        100.0 * static_cast<double>(progress_.changed) / static_cast<double>(code_groups_));
    // The time left follows from what this task has done.
    task_->update(std::min(1.0, (fraction() - task_start_) / (1 - task_start_)), text);
  }

  double tokens_per_second() const {
    return static_cast<double>(steps_here_ * batch_ * length_) / std::max(1e-9, now() - started_);
  }

  [[noreturn]] void stop_here() {
    throw Interrupted(
        concat("interrupted after step ", progress_.step, "; the same command goes on from there"));
  }

  // Validation KL of the projected student; its values are left projected for the caller to save.
  // When it throws they are not.
  double validate() {
    held_ = student_.save_parameters();
    student_.project();
    double kl = 0;
    try {
      kl = validation_kl(student_.decoder(), teacher_, validation_, micro_, context_);
    } catch (...) {
      unproject();
      throw;
    }
    log_.validation(progress_.step, kl, elapsed());
    return kl;
  }
  void keep_validation(double kl) {
    const int64_t steps = progress_.step - progress_.validated_step;
    progress_.validations.push_back(
        {.step = progress_.step,
         .tokens = progress_.step * batch_ * length_,
         .training_loss = steps > 0 ? progress_.training_loss_sum / static_cast<double>(steps) : 0,
         .kl = kl});
    progress_.training_loss_sum = 0;
  }
  void save_student_best() {
    if (ranks_.first()) save_student_tensors(work_ / "best.safetensors", student_);
    unproject();
  }
  void unproject() {
    student_.restore_values(held_);
    held_.clear();
    student_.refresh();
  }
  bool validation_due() const {
    return progress_.validated_passes < progress_.passes ||
           fraction() - progress_.last_validation >= kValidationShare;
  }
  // An interrupted one is done first when the run goes on.
  void validate_and_keep() {
    if (progress_.validated_step == progress_.step &&
        progress_.validated_passes == progress_.passes)
      return;
    const double share = fraction();
    double kl = 0;
    try {
      kl = validate();
    } catch (const Interrupted&) {
      save_state();
      stop_here();
    }
    keep_validation(kl);
    progress_.last_validation = share;
    progress_.validated_step = progress_.step;
    progress_.validated_passes = progress_.passes;
    if (kl < progress_.best_kl) {
      progress_.best_kl = kl;
      progress_.best_step = progress_.step;
      save_student_best();
    } else {
      unproject();
    }
  }
  bool save_due() const { return now() - saved_ > options_.checkpoint_minutes * 60; }
  void save_state() {
    saved_ = now();
    TuneProgress saved = progress_;
    saved.elapsed_seconds = elapsed();
    save_tune_state(work_ / "state.safetensors", student_, saved);
  }

  TuneResult result(bool diverged) {
    TuneResult r;
    r.kl_before = progress_.first_kl;
    r.kl_after = progress_.best_kl;
    r.steps = progress_.step;
    r.tokens = progress_.step * batch_ * length_;
    r.best_step = progress_.best_step;
    r.codes_changed = static_cast<double>(progress_.changed) / static_cast<double>(code_groups_);
    r.seconds = elapsed();
    r.tokens_per_second = tokens_per_second();
    r.diverged = diverged;
    r.validations = progress_.validations;
    return r;
  }

  Student& student_;
  Decoder& teacher_;
  Teacher& targets_;
  const TokenDataset& data_;
  torch::Tensor validation_, judging_;
  const TuneOptions& options_;
  std::filesystem::path work_;
  const RunContext& context_;
  Communicator& ranks_;
  TuneLog log_;
  double started_;
  int64_t length_ = 0, batch_ = 0, micro_ = 0, total_steps_ = 0, code_groups_ = 0, steps_here_ = 0;
  double smooth_loss_ = 0, saved_ = 0;
  std::optional<ReportedTask> task_;
  double task_start_ = 0;  // share of the budget used then
  TuneProgress progress_;
  std::map<std::string, torch::Tensor> held_;
};

}  // namespace

double validation_kl(Decoder& student, Decoder& teacher, const torch::Tensor& windows,
                     int64_t micro_windows, const RunContext& context) {
  const torch::NoGradGuard no_grad;
  Communicator& ranks = *context.communicator;
  const int64_t micro_batches = (windows.size(0) + micro_windows - 1) / micro_windows;
  std::vector<double> sums(static_cast<size_t>(micro_batches));
  for (int64_t round = 0; round < micro_batches; round += ranks.size()) {
    if (context.cancelled_anywhere())
      throw Interrupted("interrupted while validating; the same command begins with that anew");
    const int64_t own = round + ranks.rank();
    if (own >= micro_batches) continue;
    const int64_t first = own * micro_windows;
    const auto ids = windows.narrow(0, first, std::min(micro_windows, windows.size(0) - first));
    HiddenTeacherRows target(teacher.hidden_states(ids).flatten(0, 1), teacher.head());
    sums[static_cast<size_t>(own)] =
        training_loss({}, &target, {}, student.hidden_states(ids).flatten(0, 1), student.head(),
                      /*with_gradient=*/false)
            .sum;
  }
  ranks.sum(sums);
  return std::accumulate(sums.begin(), sums.end(), 0.0) / static_cast<double>(windows.numel());
}

TuneResult train(Student& student, Decoder& teacher, Teacher& targets, const TokenDataset& data,
                 const TuneOptions& options, const std::string& request_hash,
                 const std::filesystem::path& work, const std::filesystem::path& log,
                 const RunContext& context) {
  BITSMITH_CHECK((options.tokens > 0) != (options.minutes > 0));
  BITSMITH_CHECK(&student.communicator() == context.communicator);
  BITSMITH_CHECK(!options.has_passes() || (data.train.size(0) > 1 && data.validation.size(0) > 1));
  return Run(student, teacher, targets, data, options, request_hash, work, log, context).run();
}

}  // namespace bitsmith
