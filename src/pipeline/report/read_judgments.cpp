#include <filesystem>

#include "base/error.h"
#include "pipeline/report/read_report.h"
#include "pipeline/report/report_json.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

ReportedGenerations reported_generations(const Json& json, const std::string& source) {
  ReportedGenerations generations;
  generations.prompts = json_get<int64_t>(json, "prompts", source);
  generations.tokens = json_get<int64_t>(json, "tokens", source);
  generations.agreeing_tokens = reported_value(json, "agreeing_tokens", source);
  generations.agreeing_tokens_median = reported_number(json, "agreeing_tokens_median", source);
  generations.agreement = reported_value(json, "agreement", source);
  generations.repetition = reported_number(json, "repetition", source);
  generations.repetition_original = reported_number(json, "repetition_original", source);
  for (const Json& example : reported_list(json, "examples", source)) {
    generations.examples.push_back({json_get<std::string>(example, "prompt", source),
                                    json_get<std::string>(example, "original", source),
                                    json_get<std::string>(example, "model", source)});
  }
  return generations;
}

ReportedTaskScores reported_task(const Json& json, const std::string& source) {
  return {json_get<std::string>(json, "task", source), json_get<int64_t>(json, "items", source),
          reported_value_or_none(json, "acc", source),
          reported_value_or_none(json, "acc_norm", source),
          reported_value_or_none(json, "perplexity", source)};
}

}  // namespace

ReportedText reported_text(const Json& judged, const Json& figures, const std::string& source) {
  const auto get = [&](const char* key) -> const Json& {
    return figures.is_object() && figures.contains(key) ? figures : judged;
  };
  ReportedText text;
  text.text = last_name(json_get<std::string>(get("text"), "text", source));
  const auto dtype = json_get_or<std::string>(judged, "dtype", "", source);
  text.protocol =
      concat(json_get<int64_t>(get("windows"), "windows", source), " windows of ",
             json_get<int64_t>(judged, "context", source), " tokens, ",
             json_get<bool>(judged, "bos", source) ? "beginning with BOS" : "without BOS", ", ",
             json_get<std::string>(judged, "engine", source), dtype.empty() ? "" : " " + dtype);
  if (json_get_or<bool>(judged, "parse_special", false, source))
    text.protocol += ", special tokens parsed";
  text.perplexity = reported_value(figures, "perplexity", source);
  text.kl = reported_value_or_none(figures, "kl", source);
  text.kl_p99 = reported_number_or_none(figures, "kl_p99", source);
  text.top1 = reported_value_or_none(figures, "top1", source);
  const auto generations = json_get_or<Json>(figures, "generations", Json(), source);
  if (!generations.is_null()) text.generations = reported_generations(generations, source);
  return text;
}

Judgments read_judgments(const fs::path& file) {
  const std::string source = file.string();
  const Json json = read_json_file(file);
  Judgments judgments;
  ReportedModel& model = judgments.model;
  model.name = last_name(json_get<std::string>(json, "model", source));
  model.sha256 = json_get_or<std::string>(json, "model_sha256", "", source);
  judgments.teacher_sha256 = json_get_or<std::string>(json, "teacher_sha256", "", source);
  model.file_bytes = json_get<uint64_t>(json, "file_bytes", source);
  model.decoder_bits = reported_number(json, "bits", source);
  model.file_bits = reported_number(json, "file_bits", source);
  if (json.contains("perplexity")) model.texts.push_back(reported_text(json, json, source));
  for (const Json& text : reported_list(json, "results", source))
    model.texts.push_back(reported_text(json, text, source));
  for (const Json& task : reported_list(json, "tasks", source))
    model.tasks.push_back(reported_task(task, source));
  model.warnings = json_get_or<std::vector<std::string>>(json, "warnings", {}, source);
  return judgments;
}

}  // namespace bitsmith
