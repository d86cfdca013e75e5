// Log-likelihoods of a task's requests, and the figures that are made of them, as
// lm-evaluation-harness defines both (docs/evaluation.md).
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "evaluate/language_model.h"
#include "evaluate/mean_error.h"
#include "evaluate/task_requests.h"

namespace bitsmith {

struct RequestScore {
  double log_likelihood = 0;  // of the continuation after the context: a sum over tokens, nats
  bool greedy = false;        // whether each of its tokens is the most likely one
};

// Requests whose tokens differ in the last one alone share a pass. Throws Error where logits are
// infinite or undefined.
std::vector<RequestScore> score_requests(LanguageModel& model,
                                         std::span<const TokenRequest> requests);

struct ItemOutcome {
  bool right = false;            // the likeliest choice (the first of equals), or greedy decoding
  bool right_by_length = false;  // the choice that is likeliest a character
};
ItemOutcome item_outcome(const Task& task, const TaskItem& item,
                         std::span<const RequestScore> scores);

struct TaskScores {
  int64_t items = 0;
  MeanError accuracy;
  std::optional<MeanError> accuracy_by_length;  // kChoiceByLength
  // kWord: exp(-mean log-likelihood of a word); the error by the delta method.
  std::optional<MeanError> perplexity;
};
// `scores` has the requests' of each item; both are not empty and equally long.
TaskScores task_scores(const Task& task, std::span<const TaskItem> items,
                       std::span<const std::vector<RequestScore>> scores);

}  // namespace bitsmith
