// The options of training data, the same for every command that takes text to learn from.
#pragma once
#include <CLI/CLI.hpp>
#include <string>

#include "pipeline/compressor/training_data.h"

namespace bitsmith {

// Adds --data, --context, --parse-special, --chat-share, --sample-documents, --cache, and the
// number of tokens under `tokens_flag`. Set options.default_context before.
void add_training_data_options(CLI::App& command, TrainingDataOptions& options,
                               const std::string& tokens_flag);

}  // namespace bitsmith
