// bitsmith eval: perplexity on texts, and with a teacher how far the model is from it; greedy
// continuations; accuracy on zero-shot tasks.
#include <algorithm>
#include <cstdio>
#include <memory>

#include "apps/command.h"
#include "apps/engines.h"
#include "apps/near_names.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "pipeline/evaluate_model.h"

namespace bitsmith {
namespace {

constexpr int64_t kDefaultGenerations = 32;

struct EvalCommand {
  Engines engines;
  CommonOptions common = {};
  EvaluateModelJob job = {};
  std::vector<std::string> tasks = {};  // names

  void run();
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

std::string table(const std::vector<JudgedText>& texts, bool with_teacher) {
  std::vector<std::vector<std::string>> rows = {{"text", "windows", "tokens", "perplexity"}};
  if (with_teacher) rows[0].insert(rows[0].end(), {"KL", "KL p99", "top-1"});
  rows[0].insert(rows[0].end(), {"seconds", "tokens/s"});
  for (const JudgedText& text : texts) {
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

std::string generation_table(const std::vector<JudgedText>& texts) {
  std::vector<std::vector<std::string>> rows = {
      {"generations", "prompts", "agreeing", "median", "agreement", "repetition", "original's"}};
  for (const JudgedText& text : texts) {
    const GenerationAgreement& a = text.generations->agreement;
    rows.push_back({std::filesystem::path(text.path).filename().string(), std::to_string(a.prompts),
                    format("%.1f ± %.1f", a.agreeing_tokens.mean, a.agreeing_tokens.error),
                    format("%.1f", a.agreeing_tokens_median),
                    format("%.1f ± %.1f %%", 100 * a.agreement.mean, 100 * a.agreement.error),
                    format("%.1f %%", 100 * a.repetition),
                    format("%.1f %%", 100 * a.repetition_original)});
  }
  std::string table =
      columns(rows) + format(
                          "\ngreedy continuations, %lld tokens after prompts of %lld, in the "
                          "runtime; tokens that agree with the original's before the first "
                          "difference, and positions that do; repeated 4-grams\n",
                          static_cast<long long>(kGenerationTokens),
                          static_cast<long long>(kGenerationPromptTokens));
  for (const JudgedText& text : texts) {
    for (const GenerationExample& example : text.generations->examples) {
      constexpr size_t kShown = 400;
      table += concat("\n... ", excerpt(example.prompt, kShown),
                      "\n  original: ", excerpt(example.original, kShown),
                      "\n  model:    ", excerpt(example.model, kShown), "\n");
    }
  }
  return table;
}

OrderedJson to_json(const ComparedGenerations& generations) {
  const GenerationAgreement& a = generations.agreement;
  OrderedJson json = {{"engine", "runtime"},
                      {"prompts", a.prompts},
                      {"prompt_tokens", kGenerationPromptTokens},
                      {"tokens", kGenerationTokens},
                      {"agreeing_tokens", a.agreeing_tokens.mean},
                      {"agreeing_tokens_error", a.agreeing_tokens.error},
                      {"agreeing_tokens_median", a.agreeing_tokens_median},
                      {"agreement", a.agreement.mean},
                      {"agreement_error", a.agreement.error},
                      {"repetition", a.repetition},
                      {"repetition_original", a.repetition_original}};
  for (const GenerationExample& example : generations.examples) {
    json["examples"].push_back(
        {{"prompt", example.prompt}, {"original", example.original}, {"model", example.model}});
  }
  return json;
}

OrderedJson to_json(const JudgedText& text, bool with_teacher) {
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
    json["teacher_perplexity"] = r.teacher_perplexity;
  }
  if (text.generations) json["generations"] = to_json(*text.generations);
  json["seconds"] = r.seconds;
  json["tokens_per_second"] = tokens_per_second(r);
  return json;
}

// "0.5510 ± 0.0118"; "-" where a task has no such figure.
std::string with_error(const std::optional<MeanError>& value, int digits) {
  return value ? format("%.*f ± %.*f", digits, value->mean, digits, value->error) : "-";
}

std::string table(const std::vector<JudgedTask>& tasks) {
  std::vector<std::vector<std::string>> rows = {
      {"task", "items", "acc", "acc_norm", "perplexity", "seconds"}};
  for (const JudgedTask& task : tasks) {
    const TaskScores& scores = task.scores;
    rows.push_back({task.task->name, std::to_string(scores.items), with_error(scores.accuracy, 4),
                    with_error(scores.accuracy_by_length, 4), with_error(scores.perplexity, 3),
                    format("%.1f", task.seconds)});
  }
  return columns(rows);
}

OrderedJson to_json(const JudgedTask& task) {
  const TaskScores& scores = task.scores;
  OrderedJson json = {{"task", task.task->name}, {"items", scores.items}};
  const auto add = [&](const std::string& key, const std::optional<MeanError>& value) {
    if (!value) return;
    json[key] = value->mean;
    json[key + "_error"] = value->error;
  };
  add("acc", scores.accuracy);
  add("acc_norm", scores.accuracy_by_length);
  add("perplexity", scores.perplexity);
  json["seconds"] = task.seconds;
  return json;
}

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const Task& task : all_tasks()) names.push_back(task.name);
  return names;
}

std::string task_list() {
  std::string list;
  for (const std::string& name : task_names()) list += (list.empty() ? "" : ", ") + name;
  return list;
}

const Task* task_named(const std::string& name) {
  for (const Task& task : all_tasks())
    if (task.name == name) return &task;
  const std::string near = did_you_mean(name, task_names());
  throw UsageError(concat("unknown task '", excerpt(name), "'",
                          near.empty() ? "; the tasks are " + task_list() : near));
}

void EvalCommand::run() {
  if (job.texts.empty() && tasks.empty()) {
    throw UsageError(
        "eval needs a text to judge on: --text FILE (.txt or .jsonl; repeat it for several; "
        "docs/evaluation.md says where WikiText-2 comes from), or tasks: --tasks NAMES");
  }
  if (!tasks.empty() && job.tasks.data.empty()) {
    throw UsageError(
        "--tasks needs the folder of the tasks' files: --task-data DIR (docs/evaluation.md says "
        "what it holds)");
  }
  if (tasks.empty() && (!job.tasks.data.empty() || !job.tasks.log.empty() || job.tasks.limit > 0))
    throw UsageError("--task-data, --task-limit and --task-log are for --tasks");
  if (job.texts.empty() && !job.teacher.empty())
    throw UsageError("--teacher is compared with on texts: give --text");
  if (job.generations > 0 && job.teacher.empty())
    throw UsageError("--generations are compared with the original's: give --teacher ORIGINAL");
  for (const std::string& name : tasks) {
    const Task* task = task_named(name);
    if (std::ranges::find(job.tasks.tasks, task) == job.tasks.tasks.end())
      job.tasks.tasks.push_back(task);
  }
  job.engine = resolve_engine(job.engine, engines.has_torch);
  job.load_engine = engines.loader(job.engine);
  job.version = BITSMITH_VERSION;
  const EvaluateModelResult judged = evaluate_model(job, run_context(common));
  const bool with_teacher = !job.teacher.empty();
  double seconds = 0;
  int64_t chats = 0;
  for (const JudgedText& text : judged.texts) {
    seconds += text.result.seconds;
    chats += text.chats;
  }

  OrderedJson json = {{"model", job.model.string()}, {"model_sha256", judged.model_sha256}};
  if (with_teacher) {
    json["teacher"] = job.teacher.string();
    json["teacher_sha256"] = judged.teacher_sha256;
  }
  json["engine"] = job.engine.engine;
  if (!judged.texts.empty()) json["context"] = judged.context;
  json["bos"] = judged.bos;
  json["parse_special"] = job.parse_special;
  if (!job.engine.dtype.empty()) json["dtype"] = job.engine.dtype;
  if (judged.texts.size() == 1) {
    json.update(to_json(judged.texts[0], with_teacher));
  } else if (!judged.texts.empty()) {
    json["seconds"] = seconds;
    for (const JudgedText& text : judged.texts)
      json["results"].push_back(to_json(text, with_teacher));
  }
  if (!judged.tasks.empty()) json["task_context"] = judged.task_context;
  for (const JudgedTask& task : judged.tasks) json["tasks"].push_back(to_json(task));
  const uint64_t memory = peak_memory_bytes();
  json["bits"] = judged.decoder_bits;
  json["file_bits"] = judged.file_bits;
  json["file_bytes"] = judged.file_bytes;
  json["peak_memory_bytes"] = memory;

  std::string text;
  if (!judged.tasks.empty()) {
    text += table(judged.tasks) + "\n" +
            format(
                "0-shot, prompts and scoring of lm-evaluation-harness; prompts %s, of at most "
                "%lld tokens\n",
                judged.bos ? "begin with BOS" : "without BOS",
                static_cast<long long>(judged.task_context));
  }
  if (!judged.texts.empty()) {
    text += (text.empty() ? "" : "\n") + table(judged.texts, with_teacher) + "\n";
    if (chats > 0) text += concat("chats rendered by the model's template: ", chats, "\n");
    text += format("windows of %lld tokens, %s; special tokens spelled in plain text %s\n",
                   static_cast<long long>(judged.context),
                   judged.bos ? "each beginning with BOS" : "without BOS",
                   job.parse_special ? "are parsed" : "stay text");
    if (job.generations > 0) text += "\n" + generation_table(judged.texts) + "\n";
  }
  const std::string engine_text =
      job.engine.dtype.empty() ? job.engine.engine : job.engine.engine + ", " + job.engine.dtype;
  print_result(
      common, json,
      text + format("%.3f bits a weight in the blocks, %.3f in the whole file of %s (%llu bytes)\n"
                    "engine %s; peak memory %s\n",
                    judged.decoder_bits, judged.file_bits,
                    format_bytes(static_cast<double>(judged.file_bytes)).c_str(),
                    static_cast<unsigned long long>(judged.file_bytes), engine_text.c_str(),
                    format_bytes(static_cast<double>(memory)).c_str()));
}

}  // namespace

void add_eval(CLI::App& app, const Engines& engines) {
  const auto command = std::make_shared<EvalCommand>(EvalCommand{engines});
  CLI::App* sub = app.add_subcommand(
      "eval",
      "Perplexity on texts, with --teacher also KL divergence and top-1 agreement; accuracy on "
      "zero-shot tasks");
  sub->add_option(
         "MODEL", command->job.model,
         "Hugging Face directory, GGUF file, Bitsmith directory or, with --engine runtime, "
         "packed model")
      ->required();
  sub->add_option("--teacher", command->job.teacher, "The original model, to measure KL against");
  sub->add_option("--text", command->job.texts,
                  "Text to judge on; .jsonl: the 'text' or chat 'messages' of each line; repeat "
                  "for several")
      ->allow_extra_args(false);
  sub->add_option(
         "--context", command->job.context,
         "Tokens a window (default: 2048, or what the model was made for if less), and of a "
         "task's prompt (default: what the model was made for)")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 24));
  sub->add_option("--windows", command->job.windows, "Only the first N windows (default: all)")
      ->check(count_from(1));
  sub->add_flag_function(
      "--bos,!--no-bos", [command](int64_t count) { command->job.bos = count > 0; },
      "Each window and prompt begins with the BOS token, or not (default: as the tokenizer does)");
  sub->add_flag("--parse-special", command->job.parse_special, kParseSpecialHelp);
  sub->add_option("--generations", command->job.generations,
                  concat("Also compares greedy continuations by MODEL and --teacher of N prompts "
                         "of each text (default: ",
                         kDefaultGenerations, "); always in the runtime"))
      ->expected(0, 1)
      ->default_str(std::to_string(kDefaultGenerations))
      ->check(count_from(1));
  sub->add_option("--tasks", command->tasks, "Zero-shot tasks, separated by commas: " + task_list())
      ->delimiter(',')
      ->allow_extra_args(false);
  sub->add_option("--task-data", command->job.tasks.data, "Folder of the tasks' files");
  sub->add_option("--task-limit", command->job.tasks.limit,
                  "Only the first N items of each task (default: all)")
      ->check(count_from(1));
  sub->add_option("--task-log", command->job.tasks.log,
                  "JSONL file that keeps every item's log-likelihoods; the same command with the "
                  "same file goes on where it stopped");
  add_engine_options(*sub, command->job.engine, engines.has_torch);
  add_common_options(*sub, command->common);
  sub->callback([command] { command->run(); });
}

}  // namespace bitsmith
