#include "pipeline/report/read_report.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "pipeline/report/report_json.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

bool is_of(const ReportedModel& model, const ReportedModel& judged) {
  return judged.sha256.empty() ? model.name == judged.name : model.sha256 == judged.sha256;
}

template <typename List>
void append(List& list, const List& more) {
  list.insert(list.end(), more.begin(), more.end());
}

void add_judgments(const Judgments& judgments, ReportedModel& model) {
  const ReportedModel& judged = judgments.model;
  model.file_bytes = judged.file_bytes;
  model.decoder_bits = judged.decoder_bits;
  model.file_bits = judged.file_bits;
  append(model.texts, judged.texts);
  append(model.tasks, judged.tasks);
  append(model.warnings, judged.warnings);
}

// Results of one original on one text each say what the original has there.
bool has_text(const ReportedModel& model, const ReportedText& text) {
  return std::ranges::any_of(model.texts, [&](const ReportedText& own) {
    return own.text == text.text && own.protocol == text.protocol;
  });
}

// The original of that hash, or of that name where a recipe tells no more.
ReportedModel* find_original(ReportData& data, const ReportedModel& model) {
  if (model.name.empty() && model.sha256.empty()) return nullptr;
  for (ReportedModel& original : data.originals)
    if (is_of(original, model)) return &original;
  return &data.originals.emplace_back(ReportedModel{.name = model.name, .sha256 = model.sha256});
}

void add_result(const fs::path& folder, ReportData& data) {
  ResultFiles read = read_result(folder);
  if (ReportedModel* original = find_original(data, read.original)) {
    for (const ReportedText& text : read.original.texts)
      if (!has_text(*original, text)) original->texts.push_back(text);
    if (original->file_bytes == 0) original->file_bytes = read.original.file_bytes;
    if (!original->decoder_bits) original->decoder_bits = read.original.decoder_bits;
  }
  data.results.push_back(std::move(read.result));
}

void match_judgments(const fs::path& file, ReportData& data) {
  const Judgments judgments = read_judgments(file);
  bool found = false;
  for (ReportedResult& result : data.results) {
    if (!is_of(result, judgments.model)) continue;
    found = true;
    add_judgments(judgments, result);
    const std::string& teacher = judgments.teacher_sha256;
    if (!teacher.empty() && !result.original_sha256.empty() && teacher != result.original_sha256) {
      result.warnings.push_back(concat(file.filename().string(),
                                       " judges it against another model than the one that it "
                                       "was made from"));
    }
  }
  for (ReportedModel& original : data.originals) {
    if (found || !is_of(original, judgments.model)) continue;
    found = true;
    add_judgments(judgments, original);
  }
  if (!found) {
    throw UsageError(concat(file.string(), " judges ", excerpt(judgments.model.name),
                            ", which is none of the results and not the original of one: give its "
                            "folder too, or leave the file out"));
  }
}

// Names become different: "a/out" and "b/out", "out (2)".
void tell_apart(std::vector<ReportedResult>& results, const std::vector<fs::path>& folders) {
  const auto count = [&](const std::string& name) {
    return std::ranges::count(results, name, &ReportedResult::name);
  };
  std::vector<std::string> names;
  for (size_t i = 0; i < results.size(); ++i) {
    const std::string parent = last_name(fs::absolute(folders[i] / "..").lexically_normal());
    const std::string& name = results[i].name;
    names.push_back(count(name) > 1 && !parent.empty() ? parent + "/" + name : name);
  }
  std::set<std::string> taken;
  for (size_t i = 0; i < results.size(); ++i) {
    std::string name = names[i];
    for (int n = 2; !taken.insert(name).second; ++n) name = concat(names[i], " (", n, ")");
    results[i].name = name;
  }
}

// Judgments of several texts warn of the same calibration.
void drop_doubles(std::vector<std::string>& warnings) {
  std::set<std::string> seen;
  std::erase_if(warnings, [&](const std::string& warning) { return !seen.insert(warning).second; });
}

}  // namespace

ReportData read_report(const std::vector<fs::path>& results,
                       const std::vector<fs::path>& judgments) {
  ReportData data;
  for (const fs::path& folder : results) add_result(folder, data);
  for (const fs::path& file : judgments) match_judgments(file, data);
  tell_apart(data.results, results);
  for (ReportedResult& result : data.results) drop_doubles(result.warnings);
  for (ReportedModel& original : data.originals) drop_doubles(original.warnings);
  return data;
}

}  // namespace bitsmith
