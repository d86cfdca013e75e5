#include "runtime/self_generator.h"

#include <algorithm>

#include "base/error.h"
#include "runtime/engine.h"

namespace bitsmith {

std::vector<std::vector<int32_t>> generate_sequences(
    RuntimeModel& model, const SelfGenerateOptions& options,
    const std::function<void(int64_t, int64_t)>& progress, const RunContext& context) {
  const int64_t count = std::ssize(options.starts), length = options.length;
  BITSMITH_CHECK(options.batch > 0);
  for (const std::vector<int32_t>& start : options.starts)
    BITSMITH_CHECK(!start.empty() && std::ssize(start) <= length);
  std::vector<std::vector<int32_t>> sequences = options.starts;
  const auto is_whole = [&](const auto& sequence) { return std::ssize(sequence) == length; };
  if (std::ranges::all_of(sequences, is_whole)) return sequences;
  Engine engine(model, {.context = length,
                        .max_batch = std::min(options.batch, count),
                        .products = Products::kExact,
                        .reuse = Reuse::kOff,
                        .vocab_size = options.vocab_size});
  std::string error;
  for (int64_t i = 0; i < count; ++i) {
    std::vector<int32_t>& sequence = sequences[static_cast<size_t>(i)];
    if (is_whole(sequence)) continue;
    Request request;
    request.prompt = sequence;
    request.sampling.temperature = options.temperature;
    request.seed = options.seed;
    request.stream = static_cast<uint64_t>(options.first + i);
    request.max_tokens = length - std::ssize(sequence);
    request.on_token = [&sequence](const GeneratedToken& token) {
      sequence.push_back(token.token);
      return true;
    };
    request.on_finish = [&error](const RequestResult& result) {
      if (result.reason == FinishReason::kError) error = result.error;
    };
    engine.submit(std::move(request));
  }
  while (engine.step()) {
    if (context.cancelled())
      throw Interrupted("stopped while the model was writing calibration text");
    if (!error.empty()) throw Error(error);
    int64_t done = 0;
    for (size_t i = 0; i < sequences.size(); ++i) {
      if (sequences[i].size() > options.starts[i].size()) done += std::ssize(sequences[i]);
    }
    if (progress && done > 0) progress(done, count * length);
  }
  if (!error.empty()) throw Error(error);
  if (progress) progress(count * length, count * length);
  return sequences;
}

}  // namespace bitsmith
