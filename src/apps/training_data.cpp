#include "apps/training_data.h"

#include <filesystem>

#include "apps/command.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "compressor/calibration/self_generated.h"
#include "evaluate/evaluate.h"
#include "runtime/generator.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {
namespace {

// The runtime writes the text: many sequences side by side over bfloat16 weights.
std::vector<std::vector<int32_t>> generate(const ModelFiles& model, const Tokenizer& tokenizer,
                                           const SelfGeneratedRequest& request, int threads) {
  RuntimeModel runtime(load_weights(model, DensePrecision::kFast), threads);
  SelfGenerateOptions options;
  options.count = request.count;
  options.length = request.length;
  options.seed = request.seed;
  options.temperature = request.temperature;
  options.start = {tokenizer.document_separator()};
  options.vocab_size = request.vocab_size;
  Progress progress("generating text");
  return generate_sequences(runtime, options, [&](int64_t done, int64_t of) {
    progress.update(static_cast<double>(done) / static_cast<double>(of),
                    concat(done, "/", of, " tokens"));
  });
}

}  // namespace

void add_training_data_options(CLI::App& command, TrainingDataOptions& options,
                               const std::string& tokens_flag) {
  options.cache_folder = default_cache_folder();
  command.add_option("--data", options.files,
                     "Text to learn from: .txt is one document, .jsonl one a line ('text'); may "
                     "repeat. Without it the model writes its own");
  command
      .add_option(tokens_flag, options.tokens,
                  concat("How many tokens of it to use (default: all of the files; ",
                         kDefaultGeneratedTokens, " of the model's own text)"))
      ->check(at_least(0));
  command.add_option("--context", options.context, "Tokens in a window")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  command
      .add_option("--cache", options.cache_folder, "Where the model's own text is kept for reuse")
      ->capture_default_str();
}

TokenDataset load_training_data(const ModelFiles& model, const TrainingDataOptions& options,
                                int threads, uint64_t seed) {
  const auto tokenizer = Tokenizer::open(model.checkpoint().path());
  if (!options.files.empty()) {
    std::vector<std::string> documents;
    for (const std::string& file : options.files) {
      for (std::string& document : read_documents(file)) documents.push_back(std::move(document));
    }
    return pack_documents(documents, *tokenizer, options.context, options.tokens,
                          options.validation_share, seed);
  }
  SelfGeneratedRequest request;
  request.model_hash = model.checkpoint().content_hash();
  // A model may have more rows than its tokenizer has tokens; those say nothing.
  request.vocab_size = std::min<int64_t>(model.config().vocab_size, tokenizer->vocab_size());
  const int64_t tokens = options.tokens > 0 ? options.tokens : kDefaultGeneratedTokens;
  request.count = std::max<int64_t>(1, tokens / options.context);
  request.length = options.context;
  request.seed = seed;
  const auto sequences = self_generated_sequences(
      request, options.cache_folder, [&](const SelfGeneratedRequest& asked) {
        return generate(model, *tokenizer, asked, threads);
      });
  return pack_sequences(sequences, options.validation_share, seed);
}

OrderedJson training_data_request(const TrainingDataOptions& options, uint64_t seed) {
  OrderedJson sources = OrderedJson::array();
  for (const std::string& file : options.files) {
    sources.push_back({{"file", std::filesystem::path(file).filename().string()},
                       {"sha256", sha256(MappedFile::open(file)->bytes())}});
  }
  return {{"source", options.files.empty() ? OrderedJson("self-generated") : sources},
          {"tokens", options.tokens},
          {"context", options.context},
          {"validation_share", options.validation_share},
          {"seed", seed}};
}

}  // namespace bitsmith
