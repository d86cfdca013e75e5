// bitsmith eval: perplexity on texts, and with a teacher how far the model is from it.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "apps/command.h"
#include "apps/engine.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "evaluate/documents.h"
#include "evaluate/evaluate.h"
#include "format/quantized_checkpoint.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {
namespace {

constexpr int64_t kDefaultContext = 2048;

struct EvalCommand {
  CommonOptions common;
  EngineOptions engine;
  std::string model, teacher;
  std::vector<std::string> texts;
  int64_t context = 0, windows = 0;
  bool parse_special = false;
  std::optional<bool> bos;  // unset: as the tokenizer does

  void run() const;
};

struct Text {
  std::string path;
  int64_t chats = 0;  // documents that the chat template rendered
  std::vector<int32_t> tokens;
  EvaluateResult result;
};

// Characters on the screen of UTF-8 text without wide or combining ones.
size_t display_width(const std::string& text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u; }));
}

// The first column to the left, the others to the right.
std::string columns(const std::vector<std::vector<std::string>>& rows) {
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      size_t width = 0;
      for (const auto& other : rows) width = std::max(width, display_width(other[i]));
      const std::string padding(width - display_width(row[i]), ' ');
      text += i == 0 ? row[i] + padding : "  " + padding + row[i];
    }
    text += "\n";
  }
  return text;
}

double tokens_per_second(const EvaluateResult& result) {
  return result.seconds > 0 ? static_cast<double>(result.tokens) / result.seconds : 0;
}

std::string table(const std::vector<Text>& texts, bool with_teacher) {
  std::vector<std::vector<std::string>> rows = {{"text", "windows", "tokens", "perplexity"}};
  if (with_teacher) rows[0].insert(rows[0].end(), {"KL", "KL p99", "top-1"});
  rows[0].insert(rows[0].end(), {"seconds", "tokens/s"});
  for (const Text& text : texts) {
    const EvaluateResult& r = text.result;
    std::vector<std::string> row = {std::filesystem::path(text.path).filename().string(),
                                    std::to_string(r.windows), std::to_string(r.tokens),
                                    format("%.3f ± %.3f", r.perplexity, r.perplexity_error)};
    if (with_teacher) {
      row.push_back(format("%.4f ± %.4f", r.kl, r.kl_error));
      row.push_back(format("%.3f", r.kl_p99));
      row.push_back(format("%.2f ± %.2f %%", 100 * r.top1, 100 * r.top1_error));
    }
    row.push_back(format("%.1f", r.seconds));
    row.push_back(format("%.0f", tokens_per_second(r)));
    rows.push_back(row);
  }
  return columns(rows);
}

OrderedJson to_json(const Text& text, bool with_teacher) {
  const EvaluateResult& r = text.result;
  OrderedJson json = {{"text", text.path},          {"chats", text.chats},
                      {"windows", r.windows},       {"tokens", r.tokens},
                      {"perplexity", r.perplexity}, {"perplexity_error", r.perplexity_error}};
  if (with_teacher) {
    json["kl"] = r.kl;
    json["kl_error"] = r.kl_error;
    json["kl_p99"] = r.kl_p99;
    json["top1"] = r.top1;
    json["top1_error"] = r.top1_error;
  }
  json["seconds"] = r.seconds;
  json["tokens_per_second"] = tokens_per_second(r);
  return json;
}

// Reads and tokenizes before any model is loaded, so that a wrong name costs nothing.
std::vector<Text> tokenize_texts(const Tokenizer& tokenizer, const std::vector<std::string>& paths,
                                 int64_t context, bool parse_special) {
  const ChatTemplate chat_template(tokenizer.chat_template);
  std::vector<Text> texts;
  for (const std::string& path : paths) {
    const std::vector<Document> documents = read_documents(path, chat_template);
    texts.push_back(
        {path, count_chats(documents), encode_joined(documents, tokenizer, parse_special), {}});
    const auto size = static_cast<int64_t>(texts.back().tokens.size());
    if (size < context) {
      throw UsageError(concat(path, " has ", size, " tokens, fewer than one window of ", context,
                              ": give more text or a smaller --context"));
    }
  }
  return texts;
}

// What each window begins with; unless the user says, what the tokenizer puts before a text.
std::optional<int32_t> choose_bos(const Tokenizer& tokenizer, const std::optional<bool>& wanted) {
  if (wanted.has_value() && !*wanted) return {};
  if (wanted.has_value() && !tokenizer.bos_id) {
    throw UsageError("--bos: the model's tokenizer names no BOS token");
  }
  const std::vector<int32_t> added = tokenizer.encode("", /*add_special=*/true);
  const bool adds_it = !added.empty() && tokenizer.bos_id && added[0] == *tokenizer.bos_id;
  return wanted.has_value() || adds_it ? tokenizer.bos_id : std::nullopt;
}

void EvalCommand::run() const {
  if (texts.empty()) {
    throw UsageError(
        "eval needs a text to judge on: --text FILE (.txt or .jsonl; repeat it for several; "
        "docs/evaluation.md says where WikiText-2 comes from)");
  }
  const EngineOptions resolved = resolve_engine(engine);
  const int threads = resolved_threads(common);
  const auto files = ModelFiles::open(model);
  const int64_t trained = files->config().max_position_embeddings;
  EvaluateOptions options{.context = context, .windows = windows, .threads = threads};
  if (context == 0) options.context = std::min(kDefaultContext, trained);
  if (options.context > trained) {
    log_warning(
        concat("the model was made for ", trained, " tokens of context, not ", options.context));
  }
  const auto tokenizer = Tokenizer::open(model);
  options.bos = choose_bos(*tokenizer, bos);
  std::vector<Text> judged = tokenize_texts(*tokenizer, texts, options.context, parse_special);

  const auto student = load_engine(resolved, model, threads);
  const auto original = teacher.empty() ? nullptr : load_engine(resolved, teacher, threads);
  double seconds = 0;
  for (Text& text : judged) {
    Progress progress("evaluating " + text.path);
    text.result = evaluate(
        *student, original.get(), text.tokens, options,
        [&](int64_t done, int64_t of, double perplexity) {
          progress.update(static_cast<double>(done) / static_cast<double>(of),
                          format("%lld/%lld windows, perplexity %.3f", static_cast<long long>(done),
                                 static_cast<long long>(of), perplexity));
        });
    seconds += text.result.seconds;
  }

  OrderedJson json = {{"model", model}, {"engine", resolved.engine}, {"context", options.context}};
  json["bos"] = options.bos.has_value();
  json["parse_special"] = parse_special;
  if (!resolved.dtype.empty()) json["dtype"] = resolved.dtype;
  if (judged.size() == 1) {
    json.update(to_json(judged[0], original != nullptr));
  } else {
    json["seconds"] = seconds;
    for (const Text& text : judged) json["results"].push_back(to_json(text, original != nullptr));
  }
  const uint64_t bytes = files->checkpoint().file_bytes(), memory = peak_memory_bytes();
  json["bits"] = files->decoder_bits();
  json["file_bits"] = files->file_bits();
  json["file_bytes"] = bytes;
  json["peak_memory_bytes"] = memory;
  int64_t chats = 0;
  for (const Text& text : judged) chats += text.chats;
  const std::string chat_text =
      chats > 0 ? concat("chats rendered by the model's template: ", chats, "\n") : "";
  const std::string engine_text =
      resolved.dtype.empty() ? resolved.engine : resolved.engine + ", " + resolved.dtype;
  print_result(
      common, json,
      table(judged, original != nullptr) + "\n" + chat_text +
          format("%.3f bits a weight in the blocks, %.3f in the whole file of %s (%llu bytes)\n"
                 "windows of %lld tokens, %s; special tokens spelled in plain text %s\n"
                 "engine %s; peak memory %s\n",
                 files->decoder_bits(), files->file_bits(),
                 format_bytes(static_cast<double>(bytes)).c_str(),
                 static_cast<unsigned long long>(bytes), static_cast<long long>(options.context),
                 options.bos ? "each beginning with BOS" : "without BOS",
                 parse_special ? "are parsed" : "stay text", engine_text.c_str(),
                 format_bytes(static_cast<double>(memory)).c_str()));
}

}  // namespace

void add_eval(CLI::App& app) {
  const auto command = std::make_shared<EvalCommand>();
  CLI::App* sub = app.add_subcommand(
      "eval", "Perplexity on texts; with --teacher also KL divergence and top-1 agreement");
  sub->add_option("MODEL", command->model,
                  "Hugging Face directory, GGUF file or Bitsmith directory")
      ->required();
  sub->add_option("--teacher", command->teacher, "The original model, to measure KL against");
  sub->add_option("--text", command->texts,
                  "Text to judge on; .jsonl: the 'text' or chat 'messages' of each line; repeat "
                  "for several")
      ->allow_extra_args(false);
  sub->add_option("--context", command->context,
                  "Tokens a window (default: 2048, or what the model was made for if less)")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 24));
  sub->add_option("--windows", command->windows, "Only the first N windows (default: all)")
      ->check(at_least(1));
  sub->add_flag_function(
      "--bos,!--no-bos", [command](int64_t count) { command->bos = count > 0; },
      "Each window begins with the BOS token, or not (default: as the tokenizer does)");
  sub->add_flag("--parse-special", command->parse_special, kParseSpecialHelp);
  add_engine_options(*sub, command->engine);
  add_common_options(*sub, command->common);
  sub->callback([command] { command->run(); });
}

}  // namespace bitsmith
