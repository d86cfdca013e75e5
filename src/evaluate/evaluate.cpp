#include "evaluate/evaluate.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/error.h"
#include "base/thread_pool.h"
#include "evaluate/mean_error.h"
#include "evaluate/softmax_row.h"

namespace bitsmith {
namespace {

// The smallest value that at least 99 % of all do not exceed.
double percentile_99(std::vector<double>& values) {
  const size_t rank = (values.size() * 99 + 99) / 100;
  const auto at = values.begin() + static_cast<ptrdiff_t>(rank - 1);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

// Scores the positions of one window, chunk by chunk.
class WindowScorer {
 public:
  WindowScorer(LanguageModel& model, LanguageModel* teacher, const EvaluateOptions& options,
               int threads)
      : model_(model), teacher_(teacher), options_(options), pool_(threads) {
    const auto size = static_cast<size_t>(options.chunk * model.vocab_size());
    student_logits_.resize(size);
    if (teacher) teacher_logits_.resize(size);
  }

  // Of the window last scored, by position: -log p(next token) of both, KL, and whether both agree.
  std::vector<double> loss, teacher_loss, kl, agree;

  void score(std::span<const int32_t> window) {
    const auto scored = static_cast<int64_t>(window.size()) - 1;
    loss.assign(static_cast<size_t>(scored), 0);
    kl.assign(teacher_ ? static_cast<size_t>(scored) : 0, 0);
    agree = teacher_loss = kl;
    model_.run(window);
    if (teacher_) teacher_->run(window);
    for (int64_t first = 0; first < scored; first += options_.chunk) {
      const int64_t count = std::min(options_.chunk, scored - first);
      const auto size = static_cast<size_t>(count * model_.vocab_size());
      model_.logits(first, count, std::span(student_logits_).first(size));
      if (teacher_) teacher_->logits(first, count, std::span(teacher_logits_).first(size));
      pool_.run(count, [&](int64_t i) { score_position(i, first + i, window[first + i + 1]); });
    }
  }

 private:
  void score_position(int64_t row, int64_t position, int32_t next) {
    const auto vocab = static_cast<size_t>(model_.vocab_size());
    const auto logits = std::span(student_logits_).subspan(static_cast<size_t>(row) * vocab, vocab);
    LogSumExp student;
    if (teacher_) {
      const auto expected =
          std::span(teacher_logits_).subspan(static_cast<size_t>(row) * vocab, vocab);
      const RowComparison both = compare_rows(expected, logits);
      teacher_loss[position] = both.teacher.value - double{expected[next]};
      kl[position] = both.kl;
      agree[position] = both.teacher.argmax == both.student.argmax ? 1 : 0;
      student = both.student;
    } else {
      student = log_sum_exp(logits);
    }
    loss[position] = student.value - double{logits[next]};
    if (!std::isfinite(loss[position]) || (teacher_ && !std::isfinite(kl[position]))) {
      throw Error(concat("the logits of position ", position,
                         " hold infinite or undefined values: the weights are damaged, or the ",
                         "arithmetic overflowed"));
    }
  }

  LanguageModel& model_;
  LanguageModel* teacher_;
  const EvaluateOptions& options_;
  ThreadPool pool_;
  std::vector<float> student_logits_, teacher_logits_;  // [chunk, vocab]
};

int64_t count_windows(int64_t tokens, const EvaluateOptions& options) {
  if (options.context < 2) throw UsageError("a window needs a context of at least 2 tokens");
  const int64_t available = tokens / options.context;
  if (available == 0) {
    throw UsageError(concat("the text has ", tokens, " tokens, fewer than one window of ",
                            options.context, ": give more text or a smaller context"));
  }
  return options.windows > 0 ? std::min(options.windows, available) : available;
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

}  // namespace

EvaluateResult evaluate(LanguageModel& model, LanguageModel* teacher,
                        std::span<const int32_t> tokens, const EvaluateOptions& options,
                        const RunContext& context,
                        const std::function<void(int64_t, int64_t, double)>& progress) {
  BITSMITH_CHECK(options.chunk > 0 && options.windows >= 0);
  if (teacher && teacher->vocab_size() != model.vocab_size()) {
    throw Error(concat("model and teacher have vocabularies of ", model.vocab_size(), " and ",
                       teacher->vocab_size(), " tokens: they cannot be compared"));
  }
  const auto start = std::chrono::steady_clock::now();
  EvaluateResult result;
  result.windows = count_windows(static_cast<int64_t>(tokens.size()), options);
  result.tokens = result.windows * (options.context - 1);
  for (const int32_t token : tokens.first(result.windows * options.context)) {
    if (token < 0 || token >= model.vocab_size()) {
      throw Error(concat("token ", token, " is outside the model's vocabulary of ",
                         model.vocab_size(), ": this tokenizer belongs to another model"));
    }
  }

  WindowScorer scorer(model, teacher, options, context.threads);
  std::vector<double> loss, teacher_loss, kl, agree, all_kl;  // of windows; of all positions
  std::vector<int32_t> window_tokens;
  for (int64_t window = 0; window < result.windows; ++window) {
    const auto text = tokens.subspan(window * options.context, options.context);
    window_tokens.assign(text.begin(), text.end());
    if (options.bos) window_tokens[0] = *options.bos;
    scorer.score(window_tokens);
    loss.push_back(mean_of(scorer.loss));
    if (teacher) {
      teacher_loss.push_back(mean_of(scorer.teacher_loss));
      kl.push_back(mean_of(scorer.kl));
      agree.push_back(mean_of(scorer.agree));
      all_kl.insert(all_kl.end(), scorer.kl.begin(), scorer.kl.end());
    }
    if (progress) progress(window + 1, result.windows, std::exp(mean_of(loss)));
    if (context.cancelled()) {
      throw Interrupted(concat("judging was stopped after ", window + 1, " of ", result.windows,
                               " windows; nothing of it is kept, the same command judges anew"));
    }
  }

  // Windows are taken as independent draws; positions inside one are not.
  const MeanError nats = mean_and_error(loss);
  result.perplexity = std::exp(nats.mean);
  result.perplexity_error = result.perplexity * nats.error;
  if (teacher) {
    const MeanError divergence = mean_and_error(kl), agreement = mean_and_error(agree);
    result.teacher_perplexity = std::exp(mean_of(teacher_loss));
    result.kl = divergence.mean;
    result.kl_error = divergence.error;
    result.kl_p99 = percentile_99(all_kl);
    result.top1 = agreement.mean;
    result.top1_error = agreement.error;
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace bitsmith
