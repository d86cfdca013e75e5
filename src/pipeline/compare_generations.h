// Greedy continuations by a model and by its original: a check that speaks to people.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/run_context.h"
#include "evaluate/generation_agreement.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {

constexpr int64_t kGenerationPromptTokens = 64;  // of each prompt
constexpr int64_t kGenerationTokens = 64;        // of each continuation
constexpr int64_t kGenerationExamples = 2;

using Prompts = std::vector<std::vector<int32_t>>;

struct GenerationExample {
  std::string prompt, original, model;
};

struct ComparedGenerations {
  GenerationAgreement agreement;
  std::vector<GenerationExample> examples;  // of the first prompts
};

// Continues the prompts of each text by the most likely tokens, kGenerationTokens of them: an
// end-of-text token does not end a continuation. Both models run in the runtime, one after the
// other, with a KV cache of float32. Throws Error for what the runtime cannot hold, UsageError for
// models made for fewer tokens than prompt and continuation have, and Interrupted.
std::vector<ComparedGenerations> compare_generations(const std::filesystem::path& original,
                                                     const std::filesystem::path& model,
                                                     const Tokenizer& tokenizer,
                                                     const std::vector<Prompts>& prompts_of_texts,
                                                     const RunContext& context);

}  // namespace bitsmith
