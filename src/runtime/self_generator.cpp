#include "runtime/self_generator.h"

#include <algorithm>

#include "base/error.h"
#include "runtime/engine.h"

namespace bitsmith {

std::vector<std::vector<int32_t>> generate_sequences(
    RuntimeModel& model, const SelfGenerateOptions& options,
    const std::function<void(int64_t, int64_t)>& progress, const RunContext& context) {
  const int64_t start = std::ssize(options.start), length = options.length;
  BITSMITH_CHECK(start > 0 && length >= start && options.batch > 0);
  std::vector<std::vector<int32_t>> sequences(static_cast<size_t>(options.count), options.start);
  if (options.count == 0 || length == start) return sequences;
  Engine engine(model, {.context = length,
                        .max_batch = std::min(options.batch, options.count),
                        .products = Products::kExact,
                        .reuse = Reuse::kOff,
                        .vocab_size = options.vocab_size});
  std::string error;
  for (int64_t i = 0; i < options.count; ++i) {
    Request request;
    request.prompt = options.start;
    request.sampling.temperature = options.temperature;
    request.seed = options.seed;
    request.stream = static_cast<uint64_t>(options.first + i);
    request.max_tokens = length - start;
    std::vector<int32_t>& sequence = sequences[static_cast<size_t>(i)];
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
    for (const auto& sequence : sequences)
      if (std::ssize(sequence) > start) done += std::ssize(sequence);
    if (progress && done > 0) progress(done, options.count * length);
  }
  if (!error.empty()) throw Error(error);
  if (progress) progress(options.count * length, options.count * length);
  return sequences;
}

}  // namespace bitsmith
