#include "apps/compressor/training_data_options.h"

#include "apps/command.h"
#include "compressor/calibration/self_generated.h"

namespace bitsmith {

void add_training_data_options(CLI::App& command, TrainingDataOptions& options,
                               const std::string& tokens_flag) {
  options.cache_folder = default_cache_folder();
  command.add_option("--data", options.files,
                     "Text to learn from: .txt is one document, .jsonl one a line ('text', or chat "
                     "'messages'); may repeat. Without it the model writes its own");
  command
      .add_option(tokens_flag, options.tokens,
                  concat("How many tokens of it to use (default: all of the files; ",
                         kDefaultGeneratedTokens, " of the model's own text)"))
      ->check(count_from(0));
  command
      .add_option("--context", options.context,
                  concat("Tokens in a window (default: ", options.default_context,
                         ", or what the model was made for if less)"))
      ->check(CLI::Range(2, 1 << 20));
  command.add_flag("--parse-special", options.parse_special, kParseSpecialHelp);
  command
      .add_option("--chat-share", options.chat_share,
                  "Share of the text that goes through the model's chat template: pieces of plain "
                  "text as a message and its answer; of the model's own text, windows that begin "
                  "with a user's turn")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command.add_flag(
      "--sample-documents", options.sample_documents,
      "Windows of documents drawn one by one, a random piece of each long one, instead "
      "of all text cut evenly: biased, to compare with");
  command
      .add_option("--cache", options.cache_folder, "Where the model's own text is kept for reuse")
      ->capture_default_str();
}

}  // namespace bitsmith
