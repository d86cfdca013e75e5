#include "pipeline/compressor/training_data.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>

#include "architecture/model_size.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "compressor/calibration/self_generated.h"
#include "compressor/calibration/text_checks.h"
#include "evaluate/chat_share.h"
#include "evaluate/documents.h"
#include "evaluate/text_warnings.h"
#include "runtime/runtime_language_model.h"
#include "runtime/self_generator.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {
namespace {

// The runtime writes the text: many windows side by side over bfloat16 weights. The model is
// loaded when the first one is asked for.
class Writer {
 public:
  Writer(const ModelFiles& model, const RunContext& context) : model_(model), context_(context) {}

  std::vector<std::vector<int32_t>> operator()(const SelfGeneratedRequest& request, int64_t first,
                                               int64_t count) {
    if (!runtime_) {
      runtime_.emplace(load_weights(model_, DensePrecision::kFast), context_.threads);
      task_.emplace(context_, "generating text");
      resumed_ = first;
    }
    SelfGenerateOptions options;
    for (int64_t window = first; window < first + count; ++window)
      options.starts.push_back(request.beginning(window));
    options.first = first;
    options.batch = count;
    options.length = request.context;
    options.seed = request.seed;
    options.temperature = request.temperature;
    options.vocab_size = request.vocab_size;
    const int64_t before = (first - resumed_) * request.context,
                  all = (request.count - resumed_) * request.context;
    const auto report = [&](int64_t done, int64_t) {
      task_->update(static_cast<double>(before + done) / static_cast<double>(all),
                    concat(before + done, "/", all, " tokens"));
    };
    return generate_sequences(*runtime_, options, report, context_);
  }

 private:
  const ModelFiles& model_;
  const RunContext& context_;
  int64_t resumed_ = 0;  // windows of an earlier run
  std::optional<RuntimeModel> runtime_;
  std::optional<ReportedTask> task_;
};

// Says a warning, if it is one, and keeps it for the recipe.
void add_warning(std::vector<std::string>& warnings, const std::string& warning) {
  if (warning.empty()) return;
  log_warning(warning);
  warnings.push_back(warning);
}

TokenDataset pack_files(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                        const TrainingDataOptions& options, int64_t length,
                        const RunContext& context) {
  std::vector<std::vector<int32_t>> documents;
  int64_t chats = 0;
  std::vector<std::string> warnings;
  for (const std::string& file : options.files) {
    std::vector<Document> texts = read_documents(file, chat_template);
    if (options.chat_share > 0) texts = with_chats(texts, chat_template, options.chat_share);
    chats += count_chats(texts);
    int64_t doubled_bos = 0;
    for (const Document& text : texts) {
      if (context.cancelled())
        throw Interrupted("stopped while the text was tokenized; the same command begins anew");
      documents.push_back(encode_document(text, tokenizer, options.parse_special));
      doubled_bos += count_doubled_bos(documents.back(), tokenizer);
    }
    const std::string name = std::filesystem::path(file).filename().string();
    if (!options.parse_special)
      add_warning(warnings, spelled_tokens_warning(name, texts, tokenizer));
    add_warning(warnings, doubled_bos_warning(name, doubled_bos, tokenizer));
  }
  const auto make_windows = options.sample_documents ? sample_documents : pack_documents;
  TokenDataset data = make_windows(documents, tokenizer.document_separator(), tokenizer.added_bos(),
                                   length, options.tokens, options.validation_share, context.seed);
  data.chats = chats;
  data.warnings = std::move(warnings);
  return data;
}

// Only for models that load and run in seconds.
void warn_of_absurd_text(const ModelFiles& model, TokenDataset& data, const RunContext& context) {
  constexpr int64_t kCheapParameters = 300'000'000;
  const Checkpoint& checkpoint = model.checkpoint();
  if (model_size(model.plan(), checkpoint.tensors()).parameters > kCheapParameters) return;
  std::string warning;
  try {
    const auto original = load_runtime_language_model(checkpoint.path(), context);
    warning = absurd_text_warning(*original, data, "training text", context);
  } catch (const Interrupted&) {
    throw Interrupted("stopped while the text was looked at; the same command begins anew");
  } catch (const Error&) {  // a damaged model: the work itself names what is wrong
  }
  add_warning(data.warnings, warning);
}

// How a window of the model's own text begins that is a chat.
std::vector<int32_t> chat_beginning(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                                    int64_t length) {
  std::vector<int32_t> ids = user_turn_start(chat_template, tokenizer);
  const auto bos = tokenizer.added_bos();
  if (bos && (ids.empty() || ids[0] != *bos)) ids.insert(ids.begin(), *bos);
  if (std::ssize(ids) >= length)
    throw UsageError(concat("--chat-share: chats of this model begin with ", ids.size(),
                            " tokens of its template, and windows have ", length,
                            ": give a larger --context"));
  if (ids.empty()) throw UsageError("--chat-share: this model's chats begin with nothing");
  return ids;
}

TokenDataset load_in_one_process(const ModelFiles& model, const TrainingDataOptions& options,
                                 const RunContext& context) {
  const int64_t length = window_length(model, options);
  const auto tokenizer = Tokenizer::open(model.checkpoint().path());
  const ChatTemplate chat_template(*tokenizer);
  if (options.chat_share > 0 && !chat_template.supported())
    throw UsageError(concat("--chat-share: ", chat_template.reason()));
  if (!options.files.empty()) {
    TokenDataset data = pack_files(*tokenizer, chat_template, options, length, context);
    warn_of_absurd_text(model, data, context);
    return data;
  }
  if (options.sample_documents)
    throw UsageError("--sample-documents is for --data: what the model writes are windows");
  SelfGeneratedRequest request;
  request.model_hash = model.checkpoint().content_hash();
  // A model may have more rows than its tokenizer has tokens; those say nothing.
  request.vocab_size = std::min<int64_t>(model.plan().vocab_size, tokenizer->vocab_size());
  request.start = tokenizer->added_bos().value_or(tokenizer->document_separator());
  const int64_t tokens = options.tokens > 0 ? options.tokens : kDefaultGeneratedTokens;
  request.count = std::max<int64_t>(1, tokens / length);
  request.context = length;
  request.seed = context.seed;
  request.chat_share = options.chat_share;
  if (options.chat_share > 0)
    request.chat_start = chat_beginning(chat_template, *tokenizer, length);
  Writer writer(model, context);
  TokenDataset data =
      pack_windows(self_generated_windows(request, options.cache_folder, std::ref(writer)),
                   options.validation_share, context.seed);
  for (int64_t window = 0; window < request.count; ++window) data.chats += request.is_chat(window);
  return data;
}

}  // namespace

int64_t window_length(const ModelFiles& model, const TrainingDataOptions& options) {
  const int64_t trained = model.plan().context;
  if (options.context == 0) return std::min(options.default_context, trained);
  if (options.context > trained && !extends_context(model.plan())) {
    throw UsageError(concat("--context ", options.context, ": the model was made for windows of ",
                            trained, " tokens; give that or less"));
  }
  return options.context;
}

TokenDataset load_training_data(const ModelFiles& model, const TrainingDataOptions& options,
                                const RunContext& context) {
  TokenDataset data;
  if (context.communicator->first()) data = load_in_one_process(model, options, context.alone());
  share_dataset(data, *context.communicator);
  return data;
}

double writing_seconds_a_token(const ModelFiles& model, const TrainingDataOptions& options,
                               const RunContext& context) {
  if (!options.files.empty()) return 0;
  RuntimeModel runtime(load_weights(model, DensePrecision::kFast), context.threads);
  SelfGenerateOptions some;
  some.starts.assign(kGeneratedAtOnce, std::vector<int32_t>{0});
  some.batch = kGeneratedAtOnce;
  some.length = std::min<int64_t>(16, window_length(model, options));
  const auto start = std::chrono::steady_clock::now();
  generate_sequences(runtime, some, {}, context);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return seconds / static_cast<double>(kGeneratedAtOnce * some.length);
}

void warn_of_few_tokens(const ModelFiles& model, TokenDataset& data) {
  add_warning(data.warnings, few_tokens_warning(data.train.numel(), model.plan()));
}

std::vector<std::string> training_data_words(const TrainingDataOptions& options,
                                             const std::string& tokens_flag) {
  std::vector<std::string> words;
  const auto add = [&](const std::string& flag, const std::string& value) {
    words.insert(words.end(), {flag, value});
  };
  for (const std::string& file : options.files)
    add("--data", std::filesystem::path(file).filename().string());
  if (options.tokens > 0) add(tokens_flag, std::to_string(options.tokens));
  if (options.context > 0) add("--context", std::to_string(options.context));
  if (options.parse_special) words.push_back("--parse-special");
  if (options.chat_share > 0) add("--chat-share", OrderedJson(options.chat_share).dump());
  if (options.sample_documents) words.push_back("--sample-documents");
  return words;
}

OrderedJson training_data_request(const ModelFiles& model, const TrainingDataOptions& options,
                                  uint64_t seed) {
  OrderedJson sources = OrderedJson::array();
  for (const std::string& file : options.files) {
    sources.push_back({{"file", std::filesystem::path(file).filename().string()},
                       {"sha256", sha256(MappedFile::open(file)->bytes())}});
  }
  OrderedJson request = {
      {"source", options.files.empty() ? OrderedJson("self-generated") : sources},
      {"parse_special", options.parse_special},
      {"tokens", options.tokens},
      {"context", window_length(model, options)},
      {"validation_share", options.validation_share},
      {"seed", seed}};
  if (options.chat_share > 0) request["chat_share"] = options.chat_share;
  if (options.sample_documents) request["sample_documents"] = true;
  return request;
}

}  // namespace bitsmith
