// Judging a model on files of text and on zero-shot tasks.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/run_context.h"
#include "evaluate/evaluate.h"
#include "pipeline/compare_generations.h"
#include "pipeline/engine_choice.h"
#include "pipeline/evaluate_tasks.h"

namespace bitsmith {

struct EvaluateModelJob {
  std::filesystem::path model, teacher;  // teacher empty: no divergence
  std::vector<std::string> texts;        // files (documents.h)
  EvaluateTasksJob tasks;
  EngineChoice engine;       // resolved
  EngineLoader load_engine;  // its
  // Tokens a window, and at most before what a task's request judges; 0: what the model was made
  // for, of texts at most 2048.
  int64_t context = 0;
  int64_t windows = 0;         // of each text, the first N; 0: all
  bool parse_special = false;  // special tokens that plain text spells out are parsed
  std::optional<bool> bos;     // windows and prompts begin with BOS; unset: as the tokenizer does
  int64_t generations = 0;     // prompts of each text that teacher and model continue; 0: none
  std::string version;         // of this program, for the log of the tasks
};

struct JudgedText {
  std::string path;
  int64_t chats = 0;  // documents that the chat template rendered
  EvaluateResult result;
  std::optional<ComparedGenerations> generations = {};
};

struct EvaluateModelResult {
  int64_t context = 0;       // of texts, resolved
  int64_t task_context = 0;  // of tasks, resolved
  bool bos = false;
  std::vector<JudgedText> texts;
  std::vector<JudgedTask> tasks;
  double decoder_bits = 0, file_bits = 0;
  uint64_t file_bytes = 0;
  std::string model_sha256, teacher_sha256;  // Checkpoint::content_hash(); empty without a teacher
};

// Texts and tasks are read before a model is loaded. Generations come first, for the runtime alone
// makes them; tasks before texts, because a log can keep them. Warns where figures lie
// (text_warnings.h).
// Throws UsageError for a text shorter than a window and for a BOS that the tokenizer has not;
// Interrupted.
EvaluateModelResult evaluate_model(const EvaluateModelJob& job, const RunContext& run);

}  // namespace bitsmith
