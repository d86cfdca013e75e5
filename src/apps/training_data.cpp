#include "apps/training_data.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>

#include "apps/command.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "checkpoint/model_size.h"
#include "compressor/calibration/self_generated.h"
#include "compressor/calibration/text_checks.h"
#include "evaluate/documents.h"
#include "runtime/generator.h"
#include "runtime/runtime_language_model.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {
namespace {

// The runtime writes the text: many sequences side by side over bfloat16 weights. The model is
// loaded when the first one is asked for.
class Writer {
 public:
  Writer(const ModelFiles& model, int32_t start, int threads)
      : model_(model), start_(start), threads_(threads) {}

  std::vector<std::vector<int32_t>> operator()(const SelfGeneratedRequest& request, int64_t first,
                                               int64_t count) {
    if (!runtime_) {
      runtime_.emplace(load_weights(model_, DensePrecision::kFast), threads_);
      progress_.emplace("generating text");
      resumed_ = first;
    }
    SelfGenerateOptions options;
    options.first = first;
    options.count = options.batch = count;
    options.length = request.length;
    options.seed = request.seed;
    options.temperature = request.temperature;
    options.start = {start_};
    options.vocab_size = request.vocab_size;
    const int64_t before = (first - resumed_) * request.length,
                  all = (request.count - resumed_) * request.length;
    return generate_sequences(*runtime_, options, [&](int64_t done, int64_t) {
      progress_->update(static_cast<double>(before + done) / static_cast<double>(all),
                        concat(before + done, "/", all, " tokens"));
    });
  }

 private:
  const ModelFiles& model_;
  int32_t start_;
  int threads_;
  int64_t resumed_ = 0;  // sequences of an earlier run
  std::optional<RuntimeModel> runtime_;
  std::optional<Progress> progress_;
};

TokenDataset pack_files(const Tokenizer& tokenizer, const TrainingDataOptions& options,
                        int64_t length, uint64_t seed) {
  const ChatTemplate chat_template(tokenizer.chat_template);
  std::vector<std::vector<int32_t>> documents;
  int64_t chats = 0;
  for (const std::string& file : options.files) {
    const std::vector<Document> texts = read_documents(file, chat_template);
    chats += count_chats(texts);
    for (const Document& text : texts) {
      if (interrupted())
        throw Interrupted("stopped while the text was tokenized; the same command begins anew");
      documents.push_back(encode_document(text, tokenizer, options.parse_special));
    }
  }
  TokenDataset data = pack_documents(documents, tokenizer.document_separator(), length,
                                     options.tokens, options.validation_share, seed);
  data.chats = chats;
  return data;
}

// Only for models that load and run in seconds.
void warn_of_absurd_text(const ModelFiles& model, const TokenDataset& data, int threads) {
  constexpr int64_t kCheapParameters = 300'000'000;
  const Checkpoint& checkpoint = model.checkpoint();
  if (model_size(model.config(), checkpoint.tensors()).parameters > kCheapParameters) return;
  std::string warning;
  try {
    const auto original = load_runtime_language_model(checkpoint.path(), threads);
    warning = absurd_text_warning(*original, data);
  } catch (const Interrupted&) {
    throw Interrupted("stopped while the text was looked at; the same command begins anew");
  } catch (const Error&) {  // a damaged model: the work itself names what is wrong
  }
  if (!warning.empty()) log_warning(warning);
}

}  // namespace

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
      ->check(at_least(0));
  command
      .add_option("--context", options.context,
                  concat("Tokens in a window (default: ", options.default_context,
                         ", or what the model was made for if less)"))
      ->check(CLI::Range(2, 1 << 20));
  command.add_flag("--parse-special", options.parse_special, kParseSpecialHelp);
  command
      .add_option("--cache", options.cache_folder, "Where the model's own text is kept for reuse")
      ->capture_default_str();
}

int64_t window_length(const ModelFiles& model, const TrainingDataOptions& options) {
  const ModelConfig& config = model.config();
  const int64_t trained = config.max_position_embeddings;
  if (options.context == 0) return std::min(options.default_context, trained);
  if (options.context > trained && config.rope_scaling.type != RopeScaling::Type::kDynamic) {
    throw UsageError(concat("--context ", options.context, ": the model was made for windows of ",
                            trained, " tokens; give that or less"));
  }
  return options.context;
}

TokenDataset load_training_data(const ModelFiles& model, const TrainingDataOptions& options,
                                int threads, uint64_t seed) {
  const int64_t length = window_length(model, options);
  const auto tokenizer = Tokenizer::open(model.checkpoint().path());
  if (!options.files.empty()) {
    TokenDataset data = pack_files(*tokenizer, options, length, seed);
    warn_of_absurd_text(model, data, threads);
    return data;
  }
  SelfGeneratedRequest request;
  request.model_hash = model.checkpoint().content_hash();
  // A model may have more rows than its tokenizer has tokens; those say nothing.
  request.vocab_size = std::min<int64_t>(model.config().vocab_size, tokenizer->vocab_size());
  const int64_t tokens = options.tokens > 0 ? options.tokens : kDefaultGeneratedTokens;
  request.count = std::max<int64_t>(1, tokens / length);
  request.length = length;
  request.seed = seed;
  Writer writer(model, tokenizer->document_separator(), threads);
  return pack_sequences(self_generated_sequences(request, options.cache_folder, std::ref(writer)),
                        options.validation_share, seed);
}

void warn_of_few_tokens(const ModelFiles& model, const TokenDataset& data) {
  const std::string warning = few_tokens_warning(data.train.numel(), model.config());
  if (!warning.empty()) log_warning(warning);
}

OrderedJson training_data_request(const ModelFiles& model, const TrainingDataOptions& options,
                                  uint64_t seed) {
  OrderedJson sources = OrderedJson::array();
  for (const std::string& file : options.files) {
    sources.push_back({{"file", std::filesystem::path(file).filename().string()},
                       {"sha256", sha256(MappedFile::open(file)->bytes())}});
  }
  return {{"source", options.files.empty() ? OrderedJson("self-generated") : sources},
          {"parse_special", options.parse_special},
          {"tokens", options.tokens},
          {"context", window_length(model, options)},
          {"validation_share", options.validation_share},
          {"seed", seed}};
}

}  // namespace bitsmith
