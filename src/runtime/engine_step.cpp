// What a step of the engine computes: the next token of each answer, a piece of the prompts.
#include <algorithm>
#include <exception>

#include "runtime/engine_sequence.h"

namespace bitsmith {

void Engine::generate_step() {
  std::vector<Sequence*> running;
  std::vector<TokenStep> rows;
  for (const SequencePointer& sequence : sequences_) {
    if (sequence->finished || sequence->reads_prompt()) continue;
    running.push_back(sequence.get());
    rows.push_back({sequence->next, &sequence->cache});
  }
  if (rows.empty()) return;
  const auto start = std::chrono::steady_clock::now();
  if (forward(rows, options_.products, running)) {
    for (Sequence* sequence : running) {
      if (sequence->keeps_pages && (answers_as_prompts_ || options_.reuse == Reuse::kAnswers))
        sequence->cache.keep_pages(sequence->cache.length(), answers_as_prompts_);
    }
    sample(running, hidden_);
  }
  stats_.generate_seconds += seconds_since(start);
}

void Engine::prompt_step() {
  std::vector<Sequence*> readers;
  for (const SequencePointer& sequence : sequences_)
    if (!sequence->finished && sequence->reads_prompt()) readers.push_back(sequence.get());
  if (readers.empty()) return;
  const auto start = std::chrono::steady_clock::now();
  const auto left = [](const Sequence* s) {
    return std::ssize(s->request.prompt) - s->cache.length();
  };
  // Each gets the same share; what a short one does not need is the others'.
  std::ranges::stable_sort(readers, std::less(), left);
  const bool beside = std::ranges::any_of(
      sequences_, [](const SequencePointer& s) { return !s->finished && !s->reads_prompt(); });
  int64_t budget = beside ? kPromptRowsBeside : kPromptRows;
  std::vector<TokenStep> rows;
  std::vector<int64_t> counts;
  for (size_t i = 0; i < readers.size(); ++i) {
    const auto others = static_cast<int64_t>(readers.size() - i);
    counts.push_back(std::min(left(readers[i]), std::max<int64_t>(1, budget / others)));
    budget -= counts.back();
    for (int64_t t = 0; t < counts.back(); ++t) {
      const auto place = static_cast<size_t>(readers[i]->cache.length() + t);
      rows.push_back({readers[i]->request.prompt[place], &readers[i]->cache});
    }
  }
  if (!forward(rows, model_.prompt_products(), readers)) return;
  const auto width = static_cast<size_t>(model_.plan().hidden_size);
  std::vector<Sequence*> complete;
  std::vector<float> last;
  size_t end = 0;
  for (size_t i = 0; i < readers.size(); ++i) {
    Sequence& sequence = *readers[i];
    const std::span<const float> hidden =
        std::span(hidden_).subspan(end * width, static_cast<size_t>(counts[i]) * width);
    end += static_cast<size_t>(counts[i]);
    sequence.result.prompt_tokens += counts[i];
    stats_.prompt_tokens += counts[i];
    if (sequence.keeps_pages) sequence.cache.keep_pages(sequence.cache.length(), true);
    if (sequence.request.prompt_probabilities) add_prompt_probabilities(sequence, hidden);
    if (sequence.reads_prompt()) continue;
    sequence.result.prompt_seconds = seconds_since(sequence.started);
    sequence.first_token = std::chrono::steady_clock::now();
    if (sequence.request.on_prompt) sequence.request.on_prompt(sequence.prompt_probabilities);
    if (sequence.request.max_tokens <= 0) {
      finish(sequence, FinishReason::kMaxTokens);
      continue;
    }
    complete.push_back(&sequence);
    last.insert(last.end(), hidden.end() - static_cast<int64_t>(width), hidden.end());
  }
  sample(complete, last);
  stats_.prompt_seconds += seconds_since(start);
}

bool Engine::forward(const std::vector<TokenStep>& rows, Products products,
                     const std::vector<Sequence*>& sequences) {
  hidden_.resize(rows.size() * static_cast<size_t>(model_.plan().hidden_size));
  try {
    model_.forward(rows, products, hidden_);
    return true;
  } catch (const std::exception& error) {
    for (Sequence* sequence : sequences)
      finish(*sequence, FinishReason::kError, error_message(error));
    return false;
  }
}

// hidden [rows, hidden_size], of the last rows of the prompt that were run.
void Engine::add_prompt_probabilities(Sequence& sequence, std::span<const float> hidden) {
  constexpr int64_t kRows = 16;  // at a time, so that their logits stay few
  const std::vector<int32_t>& prompt = sequence.request.prompt;
  const int64_t width = model_.plan().hidden_size, count = std::ssize(hidden) / width;
  const int64_t first = sequence.cache.length() - count;
  // The logits of the prompt's last token are of the answer.
  const int64_t wanted = std::min(count, std::ssize(prompt) - 1 - first);
  for (int64_t row = 0; row < wanted; row += kRows) {
    const int64_t rows = std::min(kRows, wanted - row);
    logits_.resize(static_cast<size_t>(rows * model_.plan().vocab_size));
    model_.logits(
        hidden.subspan(static_cast<size_t>(row * width), static_cast<size_t>(rows * width)),
        model_.prompt_products(), logits_);
    for (int64_t r = 0; r < rows; ++r) {
      // A prompt may name rows beyond the tokenizer's.
      const auto next = prompt[static_cast<size_t>(first + row + r + 1)];
      const auto vocab = static_cast<size_t>(model_.plan().vocab_size);
      const auto logits =
          std::span<const float>(logits_).subspan(static_cast<size_t>(r) * vocab, vocab);
      sequence.prompt_probabilities.push_back(token_probabilities(
          next < options_.vocab_size ? sampled_logits(static_cast<size_t>(r)) : logits, next,
          sequence.request.likeliest.value_or(0)));
    }
  }
}

std::span<const float> Engine::sampled_logits(size_t row) const {
  return std::span(logits_).subspan(row * static_cast<size_t>(model_.plan().vocab_size),
                                    static_cast<size_t>(options_.vocab_size));
}

// Probabilities are the model's own: only the sampler sees what the constraint leaves.
std::span<const float> Engine::constrained_logits(Sequence& sequence, size_t row) const {
  const std::span<const float> logits = sampled_logits(row);
  if (!sequence.request.constraint) return logits;
  sequence.constrained.assign(logits.begin(), logits.end());
  sequence.request.constraint->restrict(sequence.constrained);
  return sequence.constrained;
}

void Engine::sample(const std::vector<Sequence*>& sequences, std::span<const float> hidden) {
  if (sequences.empty()) return;
  struct Sampled {
    GeneratedToken token;
    std::string error;
  };
  std::vector<Sampled> sampled(sequences.size());
  logits_.resize(sequences.size() * static_cast<size_t>(model_.plan().vocab_size));
  model_.logits(hidden, options_.products, logits_);
  model_.pool().run(std::ssize(sequences), [&](int64_t i) {
    const auto row = static_cast<size_t>(i);
    Sequence& sequence = *sequences[row];
    GeneratedToken& token = sampled[row].token;
    try {
      token.token =
          sequence.sampler.sample(constrained_logits(sequence, row), sequence.cache.tokens());
      if (sequence.request.likeliest)
        token.probabilities =
            token_probabilities(sampled_logits(row), token.token, *sequence.request.likeliest);
    } catch (const std::exception& error) {
      sampled[row].error = error_message(error);
    }
  });
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (sampled[i].error.empty())
      take_token(*sequences[i], std::move(sampled[i].token));
    else
      finish(*sequences[i], FinishReason::kError, sampled[i].error);
  }
}

void Engine::take_token(Sequence& sequence, GeneratedToken token) {
  const Request& request = sequence.request;
  TokenConstraint* constraint = request.constraint.get();
  token.ends = std::ranges::find(request.end_tokens, token.token) != request.end_tokens.end();
  if (!token.ends) {
    sequence.result.tokens.push_back(token.token);
    ++stats_.generated_tokens;
    if (constraint) constraint->advance(token.token);
  }
  const bool goes_on = !request.on_token || request.on_token(token);
  if (token.ends) {
    finish(sequence, FinishReason::kEndToken);
  } else if (!goes_on) {
    finish(sequence, FinishReason::kStopped);
  } else if (constraint && constraint->finished()) {
    finish(sequence, FinishReason::kEndToken);
  } else if (std::ssize(sequence.result.tokens) >= request.max_tokens) {
    finish(sequence, FinishReason::kMaxTokens);
  } else if (sequence.cache.length() == sequence.cache.capacity()) {
    finish(sequence, FinishReason::kContextFull);
  } else {
    sequence.next = token.token;
  }
}

}  // namespace bitsmith
