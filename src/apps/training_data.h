// The data that quantize, tune and compress work on: the user's text, or the model's own.
#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "apps/command.h"
#include "compressor/calibration/token_dataset.h"
#include "format/quantized_checkpoint.h"

namespace bitsmith {

struct TrainingDataOptions {
  std::vector<std::string> files;  // empty: self-generated
  int64_t tokens = 0;              // 0: all of the files, or kDefaultGeneratedTokens
  int64_t context = 0;             // tokens a window; 0: default_context, or the model's if less
  int64_t default_context = 1024;
  bool parse_special = false;  // special tokens that plain text spells out are parsed
  double validation_share = 0.05;
  std::string cache_folder;  // of self-generated text
};

constexpr int64_t kDefaultGeneratedTokens = 65536;

// Adds --data, --context, --parse-special, --cache, and the number of tokens under `tokens_flag`.
// Set options.default_context before.
void add_training_data_options(CLI::App& command, TrainingDataOptions& options,
                               const std::string& tokens_flag);

// `model` (the original) tokenizes the files, and writes the text when there are none. Warns of
// text that the model itself finds absurd, where that costs seconds. Throws UsageError for windows
// that are longer than the model was made for, Error for files that are no text (documents.h), and
// Interrupted.
TokenDataset load_training_data(const ModelFiles& model, const TrainingDataOptions& options,
                                int threads, uint64_t seed);
// Warns where calibration has fewer tokens than a matrix of the model has inputs.
void warn_of_few_tokens(const ModelFiles& model, const TokenDataset& data);
// Tokens in a window. UsageError where more are asked for than the model was made for.
int64_t window_length(const ModelFiles& model, const TrainingDataOptions& options);
// What determines the data, before any of it is read or written: names and hashes of the files, or
// "self-generated"; tokens asked for, window length, held-out share, seed.
OrderedJson training_data_request(const ModelFiles& model, const TrainingDataOptions& options,
                                  uint64_t seed);

}  // namespace bitsmith
