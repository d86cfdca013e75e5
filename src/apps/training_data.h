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
  int64_t context = 1024;          // tokens a window
  double validation_share = 0.05;
  std::string cache_folder;  // of self-generated text
};

constexpr int64_t kDefaultGeneratedTokens = 65536;

// Adds --data, --context, --cache, and the number of tokens under `tokens_flag`.
void add_training_data_options(CLI::App& command, TrainingDataOptions& options,
                               const std::string& tokens_flag);

// `model` (the original) tokenises the files, and writes the text when there are none.
TokenDataset load_training_data(const ModelFiles& model, const TrainingDataOptions& options,
                                int threads, uint64_t seed);
// What determines the data, before any of it is read or written: names and hashes of the files, or
// "self-generated"; tokens asked for, context, held-out share, seed.
OrderedJson training_data_request(const TrainingDataOptions& options, uint64_t seed);

}  // namespace bitsmith
