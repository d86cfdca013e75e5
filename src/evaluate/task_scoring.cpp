#include "evaluate/task_scoring.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "evaluate/softmax_row.h"

namespace bitsmith {
namespace {

constexpr int64_t kChunk = 32;  // positions whose logits exist at one time

// What the model is run on: the last token is only predicted.
std::span<const int32_t> window_of(const TokenRequest& request) {
  return std::span(request.tokens).first(request.tokens.size() - 1);
}

// Adds the positions from `first` on of one window to the scores of those that share it. Of a
// request in that window the logits of position i predict its token i + 1.
class WindowScores {
 public:
  WindowScores(LanguageModel& model, std::span<const TokenRequest> requests,
               const std::vector<size_t>& members, std::vector<RequestScore>& scores)
      : model_(model), requests_(requests), members_(members), scores_(scores) {}

  void run() {
    const std::span<const int32_t> window = window_of(requests_[members_[0]]);
    const int64_t size = std::ssize(window), vocab = model_.vocab_size();
    int64_t longest = 0;
    for (const size_t member : members_) longest = std::max(longest, requests_[member].judged);
    model_.run(window);
    std::vector<float> logits(static_cast<size_t>(std::min(kChunk, longest) * vocab));
    for (int64_t first = size - longest; first < size; first += kChunk) {
      const int64_t count = std::min(kChunk, size - first);
      model_.logits(first, count, std::span(logits).first(static_cast<size_t>(count * vocab)));
      for (int64_t i = 0; i < count; ++i)
        add_position(first + i, std::span(logits).subspan(i * vocab, vocab));
    }
  }

 private:
  void add_position(int64_t position, std::span<const float> logits) {
    const LogSumExp sum = log_sum_exp(logits);
    for (const size_t member : members_) {
      const TokenRequest& request = requests_[member];
      if (position + 1 < std::ssize(request.tokens) - request.judged) continue;
      const int32_t next = request.tokens[static_cast<size_t>(position + 1)];
      if (next < 0 || next >= std::ssize(logits)) {
        throw Error(concat("token ", next, " is outside the model's vocabulary of ", logits.size(),
                           ": the tokenizer is another model's"));
      }
      const double log_probability = double{logits[static_cast<size_t>(next)]} - sum.value;
      if (!std::isfinite(log_probability)) {
        throw Error(concat("the logits of position ", position,
                           " hold infinite or undefined values: the weights are damaged, or the ",
                           "arithmetic overflowed"));
      }
      scores_[member].log_likelihood += log_probability;
      scores_[member].greedy = scores_[member].greedy && sum.argmax == next;
    }
  }

  LanguageModel& model_;
  std::span<const TokenRequest> requests_;
  const std::vector<size_t>& members_;
  std::vector<RequestScore>& scores_;
};

int64_t likeliest(std::span<const RequestScore> scores, std::span<const int64_t> lengths) {
  int64_t best = 0;
  double most = 0;
  for (int64_t i = 0; i < std::ssize(scores); ++i) {
    const double length = lengths.empty() ? 1 : static_cast<double>(lengths[i]);
    const double value = scores[i].log_likelihood / length;
    if (i > 0 && value <= most) continue;
    most = value;
    best = i;
  }
  return best;
}

}  // namespace

std::vector<RequestScore> score_requests(LanguageModel& model,
                                         std::span<const TokenRequest> requests) {
  std::vector<RequestScore> scores(requests.size(), {0, true});
  std::vector<bool> scored(requests.size());
  for (size_t first = 0; first < requests.size(); ++first) {
    if (scored[first]) continue;
    std::vector<size_t> members;
    for (size_t other = first; other < requests.size(); ++other) {
      if (!std::ranges::equal(window_of(requests[first]), window_of(requests[other]))) continue;
      members.push_back(other);
      scored[other] = true;
    }
    WindowScores(model, requests, members, scores).run();
  }
  return scores;
}

ItemOutcome item_outcome(const Task& task, const TaskItem& item,
                         std::span<const RequestScore> scores) {
  BITSMITH_CHECK(scores.size() == item.requests.size() && scores.size() == item.lengths.size());
  if (task.scoring == TaskScoring::kWord) return {scores[0].greedy, scores[0].greedy};
  return {likeliest(scores, {}) == item.gold, likeliest(scores, item.lengths) == item.gold};
}

TaskScores task_scores(const Task& task, std::span<const TaskItem> items,
                       std::span<const std::vector<RequestScore>> scores) {
  BITSMITH_CHECK(!items.empty() && items.size() == scores.size());
  std::vector<double> right, right_by_length, log_likelihoods;
  for (size_t i = 0; i < items.size(); ++i) {
    const ItemOutcome outcome = item_outcome(task, items[i], scores[i]);
    right.push_back(outcome.right ? 1 : 0);
    right_by_length.push_back(outcome.right_by_length ? 1 : 0);
    log_likelihoods.push_back(scores[i][0].log_likelihood);
  }
  TaskScores result;
  result.items = std::ssize(items);
  result.accuracy = mean_and_error(right);
  if (task.scoring == TaskScoring::kChoiceByLength)
    result.accuracy_by_length = mean_and_error(right_by_length);
  if (task.scoring == TaskScoring::kWord) {
    const MeanError nats = mean_and_error(log_likelihoods);
    const double perplexity = std::exp(-nats.mean);
    result.perplexity = {perplexity, perplexity * nats.error};
  }
  return result;
}

}  // namespace bitsmith
