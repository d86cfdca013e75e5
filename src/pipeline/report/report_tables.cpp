#include <cstdio>

#include "base/error.h"
#include "base/log.h"
#include "pipeline/report/html_text.h"
#include "pipeline/report/report_html.h"

namespace bitsmith {
namespace {

constexpr const char* kNone = "&#8211;";
constexpr size_t kName = 100;  // characters of a name at most

std::string digits(const char* pattern, double value) {
  char text[80];
  std::snprintf(text, sizeof(text), pattern, value);
  return text;
}

std::string digits(const char* pattern, const std::optional<double>& value) {
  return value ? digits(pattern, *value) : kNone;
}

// "0.0740 ± 0.0012".
std::string with_error(const char* pattern, const std::optional<ReportedValue>& value,
                       double factor = 1) {
  if (!value) return kNone;
  std::string text = digits(pattern, factor * value->value);
  if (value->error)
    text += " <small>&#177; " + digits(pattern, factor * *value->error) + "</small>";
  return text;
}

std::string name_cell(const std::string& name) { return html_text(shortened(name, kName)); }

// File, bits, and the text's figures; a model without texts has one row.
void add_rows(const ReportedModel& model, const std::string& name,
              std::vector<std::vector<std::string>>& rows) {
  const std::vector<std::string> size = {
      name,
      model.file_bytes > 0 ? digits("%.1f", static_cast<double>(model.file_bytes) * 1e-6) : kNone,
      digits("%.3f", model.decoder_bits), digits("%.3f", model.file_bits)};
  const auto add = [&](std::initializer_list<std::string> figures) {
    rows.push_back(size);
    rows.back().insert(rows.back().end(), figures);
  };
  if (model.texts.empty()) add({kNone, kNone, kNone, kNone, kNone});
  for (const ReportedText& text : model.texts) {
    add({concat(name_cell(text.text), "<br><small>", name_cell(text.protocol), "</small>"),
         with_error("%.3f", text.perplexity), with_error("%.4f", text.kl),
         digits("%.3f", text.kl_p99), with_error("%.2f", text.top1, 100)});
  }
}

template <typename Function>
void for_each_model(const ReportData& data, Function&& function) {
  for (const ReportedModel& original : data.originals) {
    if (!original.texts.empty() || !original.tasks.empty() || original.file_bytes > 0)
      function(original, "original: " + name_cell(original.name));
  }
  for (const ReportedResult& result : data.results) function(result, name_cell(result.name));
}

std::string examples(const ReportedModel& model, const std::string& name) {
  std::string text;
  constexpr size_t kText = 1200;
  for (const ReportedText& judged : model.texts) {
    if (!judged.generations) continue;
    for (const auto& example : judged.generations->examples) {
      text +=
          concat("<h3>", name, ", ", name_cell(judged.text), "</h3>\n<p class=\"dim\">prompt</p>",
                 "<pre class=\"text\">", html_text(shortened(example.prompt, kText)),
                 "</pre>\n<p class=\"dim\">the original</p><pre class=\"text\">",
                 html_text(shortened(example.original, kText)),
                 "</pre>\n<p class=\"dim\">the result</p><pre class=\"text\">",
                 html_text(shortened(example.model, kText)), "</pre>\n");
    }
  }
  return text;
}

// What the recipe says of the data, the method and tuning; commands first.
std::string recipe_of(const ReportedResult& result) {
  std::string text = "<h3>" + name_cell(result.name) + "</h3>\n";
  if (!result.original_name.empty()) {
    text += concat("<p>MODEL is ", name_cell(result.original_name));
    if (!result.original_sha256.empty())
      text += concat(" <small>(SHA-256 of its weights ",
                     html_text(shortened(result.original_sha256, 13)), ")</small>");
    text += ".</p>\n";
  }
  if (!result.command_lines.empty()) {
    text += "<pre>";
    for (const std::string& line : result.command_lines)
      text += html_text(shortened(line, 4000)) + "\n";
    text += "</pre>\n";
  }
  if (result.recipe.empty()) return text;
  const std::string recipe =
      result.recipe.dump(2, ' ', false, OrderedJson::error_handler_t::replace);
  return text + concat("<details><summary>the whole recipe: data, options, seeds</summary><pre>",
                       html_text(shortened(recipe, 40000)), "</pre></details>\n");
}

}  // namespace

std::string results_section(const ReportData& data) {
  std::vector<std::vector<std::string>> rows = {{"result", "file, MB", "decoder bits", "whole bits",
                                                 "text", "perplexity", "KL", "KL p99", "top-1, %"}};
  for_each_model(data, [&](const ReportedModel& model, const std::string& name) {
    add_rows(model, name, rows);
  });
  return section(
      "Results",
      html_table(rows) +
          "<p class=\"dim\">Decoder bits: of the blocks' matrices, with every codebook and scale; "
          "whole bits: of all weights, embedding and norms too. KL(original || result) in nats a "
          "token, and its 99th percentile; top-1: positions where both find the same token most "
          "likely. &#177; standard errors over windows. Figures compare under one protocol "
          "only.</p>\n");
}

std::string gap_section(const ReportData& data) {
  std::vector<std::vector<std::string>> rows = {
      {"result", "KL on calibration text", "KL on held-out text", "KL before tuning", "after"}};
  for (const ReportedResult& result : data.results) {
    if (result.kl_calibration || result.kl_heldout || result.kl_before_tuning)
      rows.push_back({name_cell(result.name), digits("%.4f", result.kl_calibration),
                      digits("%.4f", result.kl_heldout), digits("%.4f", result.kl_before_tuning),
                      digits("%.4f", result.kl_after_tuning)});
  }
  if (rows.size() == 1) return "";
  return section("Calibration text, held-out text, tuning",
                 html_table(rows) +
                     "<p class=\"dim\">KL in nats a token. The first two: of the one-shot result, "
                     "on a few windows of each text. Where the second is much larger, the matrices "
                     "have learned the calibration text by heart. The last two: what tuning gave, "
                     "both on the held-out windows that compress judges by.</p>\n");
}

std::string generations_section(const ReportData& data) {
  std::vector<std::vector<std::string>> rows = {
      {"result", "text", "prompts", "tokens until they differ", "median", "agreeing positions, %",
       "repetition, %", "the original's, %"}};
  std::string texts;
  for_each_model(data, [&](const ReportedModel& model, const std::string& name) {
    for (const ReportedText& text : model.texts) {
      if (!text.generations) continue;
      const ReportedGenerations& g = *text.generations;
      rows.push_back({name, name_cell(text.text), std::to_string(g.prompts),
                      concat(with_error("%.1f", g.agreeing_tokens), " of ", g.tokens),
                      digits("%.1f", g.agreeing_tokens_median),
                      with_error("%.1f", g.agreement, 100), digits("%.1f", 100 * g.repetition),
                      digits("%.1f", 100 * g.repetition_original)});
    }
    texts += examples(model, name);
  });
  if (rows.size() == 1) return "";
  return section("Greedy continuations",
                 html_table(rows) +
                     "<p class=\"dim\">Repetition: runs of four tokens that were in the same "
                     "continuation before.</p>\n<details><summary>examples</summary>\n" +
                     texts + "</details>\n");
}

std::string tasks_section(const ReportData& data) {
  std::vector<std::vector<std::string>> rows = {
      {"result", "task", "items", "acc", "acc_norm", "perplexity"}};
  for_each_model(data, [&](const ReportedModel& model, const std::string& name) {
    for (const ReportedTaskScores& task : model.tasks) {
      rows.push_back({name, name_cell(task.task), std::to_string(task.items),
                      with_error("%.4f", task.accuracy), with_error("%.4f", task.accuracy_norm),
                      with_error("%.3f", task.perplexity)});
    }
  });
  return rows.size() == 1 ? "" : section("Zero-shot tasks", html_table(rows));
}

std::string recipes_section(const ReportData& data) {
  std::string text;
  for (const ReportedResult& result : data.results) text += recipe_of(result);
  return section("How each result was made", text);
}

}  // namespace bitsmith
