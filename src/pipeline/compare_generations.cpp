#include "pipeline/compare_generations.h"

#include <algorithm>

#include "base/error.h"
#include "runtime/engine.h"
#include "runtime/model_source.h"

namespace bitsmith {
namespace {

// Shows how many of all continuations, of both models, are done.
class ContinuationProgress {
 public:
  ContinuationProgress(const RunContext& context, int64_t count)
      : context_(context), task_(context, "generating"), count_(count) {}

  void next() {
    ++done_;
    task_.update(static_cast<double>(done_) / static_cast<double>(count_),
                 concat(done_, "/", count_, " continuations"));
    if (context_.cancelled())
      throw Interrupted("stopped while text was generated; the same command judges anew");
  }

 private:
  const RunContext& context_;
  ReportedTask task_;
  int64_t count_, done_ = 0;
};

// Greedy continuations of all prompts, in their order.
std::vector<std::vector<int32_t>> continuations(const std::filesystem::path& path,
                                                const std::vector<Prompts>& prompts_of_texts,
                                                int64_t vocab_size, ContinuationProgress& progress,
                                                const RunContext& context) {
  constexpr int64_t kLength = kGenerationPromptTokens + kGenerationTokens;
  const auto source = ModelSource::open(path);
  if (source->plan().context < kLength) {
    throw UsageError(concat("the generation check needs a context of ", kLength, " tokens, but ",
                            path.string(), " was made for ", source->plan().context));
  }
  RuntimeModel model(source->weights(DensePrecision::kExact), context.threads, Products::kExact);
  Engine engine(model, {.context = kLength,
                        .kv_type = KvType::kFloat32,
                        .reuse = Reuse::kOff,
                        .vocab_size = vocab_size});
  std::vector<std::vector<int32_t>> all;
  for (const Prompts& prompts : prompts_of_texts) {
    for (const std::vector<int32_t>& prompt : prompts) {
      Request request;
      request.prompt = prompt;
      request.sampling.temperature = 0;
      request.max_tokens = kGenerationTokens;
      all.push_back(engine.run(std::move(request), context).tokens);
      progress.next();
    }
  }
  return all;
}

}  // namespace

std::vector<ComparedGenerations> compare_generations(const std::filesystem::path& original,
                                                     const std::filesystem::path& model,
                                                     const Tokenizer& tokenizer,
                                                     const std::vector<Prompts>& prompts_of_texts,
                                                     const RunContext& context) {
  int64_t count = 0;
  for (const Prompts& prompts : prompts_of_texts) count += std::ssize(prompts);
  ContinuationProgress progress(context, 2 * count);
  const auto continue_by = [&](const std::filesystem::path& path) {
    return continuations(path, prompts_of_texts, tokenizer.vocab_size(), progress, context);
  };
  const auto expected = continue_by(original), found = continue_by(model);
  std::vector<ComparedGenerations> compared;
  size_t next = 0;
  for (const Prompts& prompts : prompts_of_texts) {
    std::vector<ContinuationPair> pairs;
    ComparedGenerations& text = compared.emplace_back();
    for (size_t i = 0; i < prompts.size(); ++i, ++next) {
      pairs.push_back({expected[next], found[next]});
      if (std::ssize(text.examples) < kGenerationExamples) {
        text.examples.push_back({tokenizer.decode(prompts[i]), tokenizer.decode(expected[next]),
                                 tokenizer.decode(found[next])});
      }
    }
    text.agreement = generation_agreement(pairs);
  }
  return compared;
}

}  // namespace bitsmith
