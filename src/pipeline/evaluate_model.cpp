#include "pipeline/evaluate_model.h"

#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "evaluate/documents.h"
#include "evaluate/text_warnings.h"
#include "runtime/model_source.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {
namespace {

constexpr int64_t kDefaultContext = 2048;  // of texts

struct TokenizedText {
  JudgedText judged;
  std::vector<int32_t> tokens;

  std::string name() const { return std::filesystem::path(judged.path).filename().string(); }
};

void warn(const std::string& warning) {
  if (!warning.empty()) log_warning(warning);
}

// Reads and tokenizes before any model is loaded, so that a wrong name costs nothing.
std::vector<TokenizedText> tokenize_texts(const Tokenizer& tokenizer, const EvaluateModelJob& job,
                                          int64_t context) {
  const ChatTemplate chat_template(tokenizer);
  std::vector<TokenizedText> texts;
  for (const std::string& path : job.texts) {
    const std::vector<Document> documents = read_documents(path, chat_template);
    texts.push_back({{path, count_chats(documents), {}},
                     encode_joined(documents, tokenizer, job.parse_special)});
    const auto size = static_cast<int64_t>(texts.back().tokens.size());
    if (size < context) {
      throw UsageError(concat(path, " has ", size, " tokens, fewer than one window of ", context,
                              ": give more text or a smaller --context"));
    }
    if (!job.parse_special) warn(spelled_tokens_warning(texts.back().name(), documents, tokenizer));
  }
  return texts;
}

// BOS that is missing or doubled in the windows of a text.
void warn_of_bos(const TokenizedText& text, const EvaluateOptions& options,
                 const Tokenizer& tokenizer) {
  warn(missing_bos_warning(text.name(), options.bos.has_value(), tokenizer));
  const int64_t windows = std::ssize(text.tokens) / options.context;
  int64_t doubled = 0;
  for (int64_t i = 0; i < (options.windows > 0 ? std::min(options.windows, windows) : windows);
       ++i) {
    std::vector<int32_t> window(text.tokens.begin() + i * options.context,
                                text.tokens.begin() + (i + 1) * options.context);
    window[0] = options.bos.value_or(window[0]);
    doubled += count_doubled_bos(window, tokenizer);
  }
  warn(doubled_bos_warning(text.name(), doubled, tokenizer));
}

void generate_texts(const EvaluateModelJob& job, const Tokenizer& tokenizer,
                    const std::optional<int32_t>& bos, std::vector<TokenizedText>& texts,
                    const RunContext& run) {
  std::vector<Prompts> prompts_of_texts;
  for (const TokenizedText& text : texts) {
    Prompts& prompts = prompts_of_texts.emplace_back(
        cut_prompts(text.tokens, job.generations, kGenerationPromptTokens));
    for (std::vector<int32_t>& prompt : prompts) prompt[0] = bos.value_or(prompt[0]);
  }
  const std::vector<ComparedGenerations> compared =
      compare_generations(job.teacher, job.model, tokenizer, prompts_of_texts, run);
  for (size_t i = 0; i < texts.size(); ++i) texts[i].judged.generations = compared[i];
}

// What each window begins with; unless the job says, what the tokenizer puts before a text.
std::optional<int32_t> choose_bos(const Tokenizer& tokenizer, const std::optional<bool>& wanted) {
  if (!wanted.has_value()) return tokenizer.added_bos();
  if (!*wanted) return {};
  if (!tokenizer.bos_id) throw UsageError("--bos: the model's tokenizer names no BOS token");
  return tokenizer.bos_id;
}

// What determines a task's log-likelihoods, besides its data.
OrderedJson log_request(const EvaluateModelJob& job, const EvaluateModelResult& result,
                        const ModelSource& source) {
  OrderedJson request = {
      {"bitsmith", job.version},
      {"model_sha256", sha256(result.model_sha256 + source.config_json().dump())},
      {"engine", job.engine.engine}};
  if (!job.engine.dtype.empty()) request["dtype"] = job.engine.dtype;
  request["bos"] = result.bos;
  request["context"] = result.task_context;
  return request;
}

JudgedText judge_text(TokenizedText& text, LanguageModel& student, LanguageModel* teacher,
                      const EvaluateOptions& options, const RunContext& run) {
  ReportedTask task(run, "evaluating " + text.judged.path);
  text.judged.result = evaluate(
      student, teacher, text.tokens, options, run,
      [&](int64_t done, int64_t of, double perplexity) {
        char detail[100];
        std::snprintf(detail, sizeof(detail), "%lld/%lld windows, perplexity %.3f",
                      static_cast<long long>(done), static_cast<long long>(of), perplexity);
        task.update(static_cast<double>(done) / static_cast<double>(of), detail);
      });
  return text.judged;
}

// A quantized model without its original may be what is absurd.
void warn_of_absurd_original(const TokenizedText& text, const ModelSource& source,
                             bool with_teacher, int64_t vocab_size) {
  const EvaluateResult& result = text.judged.result;
  if (!with_teacher && source.is_quantized()) return;
  warn(absurd_perplexity_warning(text.name(),
                                 with_teacher ? result.teacher_perplexity : result.perplexity,
                                 result.tokens, vocab_size));
}

}  // namespace

EvaluateModelResult evaluate_model(const EvaluateModelJob& job, const RunContext& run) {
  EvaluateModelResult result;
  const auto source = ModelSource::open(job.model);
  const int64_t trained = source->plan().context;
  result.context = job.context == 0 ? std::min(kDefaultContext, trained) : job.context;
  result.task_context = job.context == 0 ? trained : job.context;
  if (result.context > trained) {
    log_warning(
        concat("the model was made for ", trained, " tokens of context, not ", result.context));
  }
  EvaluateOptions options{.context = result.context, .windows = job.windows};
  const auto tokenizer = Tokenizer::open(job.model);
  options.bos = choose_bos(*tokenizer, job.bos);
  result.bos = options.bos.has_value();
  std::vector<TokenizedText> texts = tokenize_texts(*tokenizer, job, result.context);
  for (const TokenizedText& text : texts) warn_of_bos(text, options, *tokenizer);
  result.model_sha256 = source->content_hash();
  if (!job.teacher.empty()) result.teacher_sha256 = ModelSource::open(job.teacher)->content_hash();
  std::optional<PreparedTasks> tasks;
  if (!job.tasks.tasks.empty()) {
    const RequestEncoder encoder(*tokenizer, result.task_context, job.bos);
    tasks.emplace(job.tasks, encoder,
                  job.tasks.log.empty() ? OrderedJson() : log_request(job, result, *source));
  }

  if (job.generations > 0) generate_texts(job, *tokenizer, options.bos, texts, run);
  const auto student = job.load_engine(job.model, run);
  const auto teacher = job.teacher.empty() ? nullptr : job.load_engine(job.teacher, run);
  if (tasks) result.tasks = tasks->judge(*student, run);
  for (TokenizedText& text : texts) {
    result.texts.push_back(judge_text(text, *student, teacher.get(), options, run));
    warn_of_absurd_original(text, *source, !job.teacher.empty(), student->vocab_size());
  }
  result.decoder_bits = source->decoder_bits();
  result.file_bits = source->file_bits();
  result.file_bytes = source->file_bytes();
  return result;
}

}  // namespace bitsmith
