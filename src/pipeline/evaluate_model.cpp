#include "pipeline/evaluate_model.h"

#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "evaluate/documents.h"
#include "format/quantized_checkpoint.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {
namespace {

constexpr int64_t kDefaultContext = 2048;  // of texts

struct TokenizedText {
  JudgedText judged;
  std::vector<int32_t> tokens;
};

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
  }
  return texts;
}

// What each window begins with; unless the job says, what the tokenizer puts before a text.
std::optional<int32_t> choose_bos(const Tokenizer& tokenizer, const std::optional<bool>& wanted) {
  if (wanted.has_value() && !*wanted) return {};
  if (wanted.has_value() && !tokenizer.bos_id)
    throw UsageError("--bos: the model's tokenizer names no BOS token");
  const std::vector<int32_t> added = tokenizer.encode("", /*add_special=*/true);
  const bool adds_it = !added.empty() && tokenizer.bos_id && added[0] == *tokenizer.bos_id;
  return wanted.has_value() || adds_it ? tokenizer.bos_id : std::nullopt;
}

// What determines a task's log-likelihoods, besides its data.
OrderedJson log_request(const EvaluateModelJob& job, const EvaluateModelResult& result,
                        const Checkpoint& checkpoint) {
  OrderedJson request = {
      {"bitsmith", job.version},
      {"model_sha256", sha256(checkpoint.content_hash() + checkpoint.config_json().dump())},
      {"engine", result.engine.engine}};
  if (!result.engine.dtype.empty()) request["dtype"] = result.engine.dtype;
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

}  // namespace

EvaluateModelResult evaluate_model(const EvaluateModelJob& job, const RunContext& run) {
  EvaluateModelResult result;
  result.engine = resolve_engine(job.engine);
  const auto files = ModelFiles::open(job.model);
  const int64_t trained = files->plan().context;
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
  std::optional<PreparedTasks> tasks;
  if (!job.tasks.tasks.empty()) {
    const RequestEncoder encoder(*tokenizer, result.task_context, job.bos);
    tasks.emplace(
        job.tasks, encoder,
        job.tasks.log.empty() ? OrderedJson() : log_request(job, result, files->checkpoint()));
  }

  const auto student = load_engine(result.engine, job.model, run.threads);
  const auto teacher =
      job.teacher.empty() ? nullptr : load_engine(result.engine, job.teacher, run.threads);
  if (tasks) result.tasks = tasks->judge(*student, run);
  for (TokenizedText& text : texts)
    result.texts.push_back(judge_text(text, *student, teacher.get(), options, run));
  result.decoder_bits = files->decoder_bits();
  result.file_bits = files->file_bits();
  result.file_bytes = files->checkpoint().file_bytes();
  return result;
}

}  // namespace bitsmith
