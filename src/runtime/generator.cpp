#include "runtime/generator.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"

namespace bitsmith {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The logits of the ids that may be sampled.
std::span<const float> of_tokens(std::span<const float> logits, int64_t vocab_size) {
  const auto size = static_cast<size_t>(vocab_size);
  return vocab_size > 0 && size < logits.size() ? logits.first(size) : logits;
}

}  // namespace

const char* stop_reason_name(StopReason reason) {
  switch (reason) {
    case StopReason::kEndToken:
      return "end";
    case StopReason::kMaxTokens:
      return "max_tokens";
    case StopReason::kContextFull:
      return "context";
    case StopReason::kStopped:
      return "stopped";
  }
  return "";
}

double GenerateResult::prompt_tokens_per_second() const {
  return prompt_seconds > 0 ? static_cast<double>(prompt_tokens) / prompt_seconds : 0;
}

double GenerateResult::tokens_per_second() const {
  // The first token comes out of the prompt's run.
  if (tokens.size() < 2 || generate_seconds <= 0) return 0;
  return static_cast<double>(tokens.size() - 1) / generate_seconds;
}

GenerateResult generate(RuntimeModel& model, KvCache& cache, std::span<const int32_t> prompt,
                        Sampler& sampler, const GenerateOptions& options,
                        const std::function<bool(int32_t)>& on_token, const RunContext& context) {
  BITSMITH_CHECK(!prompt.empty());
  if (std::ssize(prompt) > cache.capacity()) {
    throw Error(concat("the prompt has ", prompt.size(), " tokens, but the context holds ",
                       cache.capacity(), ": shorten it or use a larger context"));
  }
  // The last token is run in any case: its logits are wanted.
  const std::span<const int32_t> held = cache.tokens();
  const auto difference = std::mismatch(held.begin(), held.end(), prompt.begin(), prompt.end() - 1);
  cache.truncate(difference.first - held.begin());
  prompt = prompt.subspan(static_cast<size_t>(cache.length()));

  GenerateResult result;
  const auto start = Clock::now();
  const size_t hidden_size = static_cast<size_t>(model.plan().hidden_size);
  std::vector<float> last(hidden_size), logits(static_cast<size_t>(model.plan().vocab_size));
  const bool complete = model.prefill(prompt, cache, [&](std::span<const float> hidden) {
    const auto final_row = hidden.last(hidden_size);
    std::copy(final_row.begin(), final_row.end(), last.begin());
    return !context.cancelled();
  });
  result.prompt_tokens = std::ssize(prompt);
  if (complete) model.logits(last, logits);
  result.prompt_seconds = seconds_since(start);

  const auto generation_start = Clock::now();
  const auto stop_reason = [&]() -> StopReason {
    for (;;) {
      if (context.cancelled()) return StopReason::kStopped;
      if (std::ssize(result.tokens) >= options.max_tokens) return StopReason::kMaxTokens;
      const int32_t token = sampler.sample(of_tokens(logits, options.vocab_size), cache.tokens());
      if (std::ranges::find(options.end_tokens, token) != options.end_tokens.end())
        return StopReason::kEndToken;
      result.tokens.push_back(token);
      if (on_token && !on_token(token)) return StopReason::kStopped;
      if (std::ssize(result.tokens) >= options.max_tokens) return StopReason::kMaxTokens;
      if (cache.length() == cache.capacity()) return StopReason::kContextFull;
      const TokenStep row{token, &cache};
      model.forward({&row, 1}, last);
      model.logits(last, logits);
    }
  };
  result.stop_reason = complete ? stop_reason() : StopReason::kStopped;
  result.generate_seconds = seconds_since(generation_start);
  return result;
}

std::vector<std::vector<int32_t>> generate_sequences(
    RuntimeModel& model, const SelfGenerateOptions& options,
    const std::function<void(int64_t, int64_t)>& progress, const RunContext& context) {
  BITSMITH_CHECK(!options.start.empty() && options.length >= std::ssize(options.start) &&
                 options.batch > 0);
  const size_t hidden_size = static_cast<size_t>(model.plan().hidden_size);
  const size_t vocab_size = static_cast<size_t>(model.plan().vocab_size);
  const SamplingOptions sampling{.temperature = options.temperature};
  std::vector<std::vector<int32_t>> sequences(static_cast<size_t>(options.count), options.start);
  for (int64_t first = 0; first < options.count; first += options.batch) {
    const size_t batch = static_cast<size_t>(std::min(options.batch, options.count - first));
    std::vector<KvCache> caches;
    std::vector<Sampler> samplers;
    for (size_t i = 0; i < batch; ++i) {
      caches.emplace_back(model.plan(), options.length);
      samplers.emplace_back(sampling, options.seed,
                            static_cast<uint64_t>(options.first + first) + i);
    }
    std::vector<float> hidden(batch * hidden_size), logits(batch * vocab_size);
    std::vector<TokenStep> rows(batch);
    for (size_t position = 0; position + 1 < static_cast<size_t>(options.length); ++position) {
      if (context.cancelled())
        throw Interrupted("stopped while the model was writing calibration text");
      for (size_t i = 0; i < batch; ++i)
        rows[i] = {sequences[static_cast<size_t>(first) + i][position], &caches[i]};
      model.forward(rows, hidden);
      if (position + 1 < options.start.size()) continue;
      model.logits(hidden, logits);
      model.pool().run(static_cast<int64_t>(batch), [&](int64_t i) {
        auto& sequence = sequences[static_cast<size_t>(first + i)];
        const std::span<const float> row(&logits[static_cast<size_t>(i) * vocab_size], vocab_size);
        sequence.push_back(
            samplers[static_cast<size_t>(i)].sample(of_tokens(row, options.vocab_size), sequence));
      });
      if (progress) {
        progress(first * options.length + static_cast<int64_t>(batch * (position + 2)),
                 options.count * options.length);
      }
    }
  }
  return sequences;
}

}  // namespace bitsmith
