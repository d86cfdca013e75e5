// The data that quantize(), tune() and compress() work on: the user's text, or the model's own.
#pragma once
#include <string>
#include <vector>

#include "base/json.h"
#include "base/run_context.h"
#include "compressor/calibration/token_dataset.h"
#include "format/quantized_checkpoint.h"

namespace bitsmith {

struct TrainingDataOptions {
  // Text files (documents.h). Text of the kind that the model will see gives the best result.
  // Default: none, the model writes its own
  std::vector<std::string> files = {};

  // Tokens to use of it.
  // Default: 0, all of the files, or kDefaultGeneratedTokens
  int64_t tokens = 0;

  // Tokens a window.
  // Default: 0, default_context, or what the model was made for if that is less
  int64_t context = 0;
  int64_t default_context = 1024;

  // Special tokens that plain text spells out are parsed. For text that was rendered by a template.
  // Default: false
  bool parse_special = false;

  // Share of the text that goes through the model's chat template. Of files: pieces of plain
  // documents, as a message and its answer. Of the model's own text: windows that begin with a
  // user's turn, which the model goes on from. For models that will chat.
  // Default: 0
  double chat_share = 0;

  // Windows are documents and pieces of them that are drawn one by one (sample_documents()), not
  // all text cut evenly (pack_documents()). To compare with: it is biased.
  // Default: false
  bool sample_documents = false;

  // Of the windows, never learned from.
  // Default: 0.05
  double validation_share = 0.05;

  // Where self-generated text is kept.
  // Default: empty, nowhere
  std::string cache_folder = {};
};

constexpr int64_t kDefaultGeneratedTokens = 65536;

// `model` (the original) tokenizes the files, and writes the text when there are none. Warns of
// special tokens that plain text spells, of doubled BOS, and of text that the model itself finds
// absurd, where that costs seconds; the warnings stay with the data, for the recipe. Throws
// UsageError for windows that are longer than the model was made for, or too short for the
// beginning of a chat, for chats without a template, and for documents to be sampled where the
// model writes; Error for files that are no text (documents.h), and Interrupted. The first rank
// does it, the others get it from there.
TokenDataset load_training_data(const ModelFiles& model, const TrainingDataOptions& options,
                                const RunContext& context);
// What load_training_data() takes to have the model write a token, on this machine: found by
// writing some (seconds). 0 for files. Throws Interrupted.
double writing_seconds_a_token(const ModelFiles& model, const TrainingDataOptions& options,
                               const RunContext& context);
// Warns where calibration has fewer tokens than a matrix of the model has inputs.
void warn_of_few_tokens(const ModelFiles& model, TokenDataset& data);
// Tokens in a window. UsageError where more are asked for than the model was made for.
int64_t window_length(const ModelFiles& model, const TrainingDataOptions& options);
// The same as options of a command line, files without their folders; `tokens_flag` names the
// number of tokens.
std::vector<std::string> training_data_words(const TrainingDataOptions& options,
                                             const std::string& tokens_flag);
// What determines the data, before any of it is read or written: names and hashes of the files, or
// "self-generated"; tokens asked for, window length, held-out share, seed.
OrderedJson training_data_request(const ModelFiles& model, const TrainingDataOptions& options,
                                  uint64_t seed);

}  // namespace bitsmith
