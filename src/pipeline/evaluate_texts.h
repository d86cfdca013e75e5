// Judging a model on files of text.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/run_context.h"
#include "evaluate/evaluate.h"
#include "pipeline/engine.h"

namespace bitsmith {

struct EvaluateTextsJob {
  std::filesystem::path model, teacher;  // teacher empty: no divergence
  std::vector<std::string> texts;        // files (documents.h)
  EngineOptions engine;
  int64_t context = 0;         // tokens a window; 0: 2048, or what the model was made for if less
  int64_t windows = 0;         // of each text, the first N; 0: all
  bool parse_special = false;  // special tokens that plain text spells out are parsed
  std::optional<bool> bos;     // each window begins with BOS; unset: as the tokenizer does
};

struct JudgedText {
  std::string path;
  int64_t chats = 0;  // documents that the chat template rendered
  EvaluateResult result;
};

struct EvaluateTextsResult {
  EngineOptions engine;  // resolved
  int64_t context = 0;   // resolved
  bool bos = false;
  std::vector<JudgedText> texts;
  double decoder_bits = 0, file_bits = 0;
  uint64_t file_bytes = 0;
};

// Texts are read before a model is loaded. Throws UsageError for a text shorter than a window and
// for a BOS that the tokenizer has not; Interrupted.
EvaluateTextsResult evaluate_texts(const EvaluateTextsJob& job, const RunContext& run);

}  // namespace bitsmith
