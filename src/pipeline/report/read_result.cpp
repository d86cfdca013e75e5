#include "base/error.h"
#include "base/files.h"
#include "pipeline/report/read_report.h"
#include "pipeline/report/report_json.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

std::vector<ReportedMatrix> read_matrices(const Json& recipe, const std::string& source) {
  std::vector<ReportedMatrix> matrices;
  for (const Json& layer : reported_list(recipe, "layers", source)) {
    matrices.push_back({json_get<std::string>(layer, "module", source),
                        json_get<std::string>(layer, "representation", source),
                        json_get<std::string>(layer, "method", source),
                        reported_number(layer, "relative_error", source),
                        reported_number(layer, "bits", source)});
  }
  return matrices;
}

std::vector<ReportedValidation> read_validations(const Json& tune, const std::string& source) {
  std::vector<ReportedValidation> validations;
  for (const Json& entry : reported_list(tune, "validations", source)) {
    if (!entry.is_object() || entry.value("kl", Json()).is_null()) continue;  // it had diverged
    validations.push_back({json_get<int64_t>(entry, "tokens", source),
                           reported_number(entry, "kl", source),
                           reported_number_or_none(entry, "training_kl", source)});
  }
  return validations;
}

void add_warnings(const Json& stage, const char* data, const std::string& source,
                  ReportedModel& model) {
  const auto facts = reported_object(stage, data, source);
  const auto found = json_get_or<std::vector<std::string>>(facts, "warnings", {}, source);
  model.warnings.insert(model.warnings.end(), found.begin(), found.end());
}

// The table of compress().
void read_judged(const Json& judged, const std::string& source, ReportedModel& original,
                 ReportedResult& result) {
  const auto add = [&](const char* which, ReportedModel& model) {
    const auto figures = json_get<Json>(judged, which, source);
    ReportedText text = reported_text(judged, figures, source);
    // Another draw of windows is another text.
    text.protocol += ", windows " + json_get<std::string>(judged, "sha256", source).substr(0, 8);
    model.texts.push_back(text);
    if (model.file_bytes == 0) model.file_bytes = json_get<uint64_t>(figures, "file_bytes", source);
    if (!model.decoder_bits) model.decoder_bits = reported_number(figures, "bits", source);
  };
  add("original", original);
  add("compressed", result);
  const auto one_shot = reported_object(judged, "one_shot", source);
  if (one_shot.empty()) return;
  result.kl_before_tuning = reported_number(one_shot, "kl", source);
  result.kl_after_tuning =
      reported_number(reported_object(judged, "compressed", source), "kl", source);
}

}  // namespace

ResultFiles read_result(const fs::path& folder) {
  const fs::path file = folder / "bitsmith.json";
  if (!fs::exists(file)) {
    throw Error(concat(folder.string(),
                       " has no bitsmith.json: it is no result of quantize, tune or compress; an "
                       "original is shown by its eval --json output"));
  }
  const std::string source = file.string();
  const auto files = ModelFiles::open(folder);
  ResultFiles read;
  ReportedResult& result = read.result;
  ReportedModel& original = read.original;
  result.name = last_name(fs::absolute(folder));
  result.sha256 = files->checkpoint().content_hash();
  result.file_bytes = files->checkpoint().file_bytes();
  result.decoder_bits = files->decoder_bits();
  result.file_bits = files->file_bits();
  result.places = bytes_by_place(*files);
  result.parts = bytes_by_part(*files);

  result.recipe = parse_ordered_json(read_text_file(file), source);
  const Json recipe = result.recipe;
  if (!recipe.is_object()) throw Error(source + ": not a JSON object");
  const auto model = reported_object(recipe, "model", source);
  original.name = result.original_name = json_get_or<std::string>(model, "name", "", source);
  original.sha256 = result.original_sha256 = json_get_or<std::string>(model, "sha256", "", source);
  result.matrices = read_matrices(recipe, source);
  result.kl_calibration = reported_number_or_none(recipe, "kl_calibration", source);
  result.kl_heldout = reported_number_or_none(recipe, "kl_heldout", source);
  add_warnings(recipe, "calibration", source, result);
  const auto tune = reported_object(recipe, "tune", source);
  result.validations = read_validations(tune, source);
  add_warnings(tune, "training_data", source, result);
  if (json_get_or<bool>(tune, "diverged", false, source))
    result.warnings.push_back("tuning diverged; the best state before is kept");
  const std::vector<Json> earlier = reported_list(recipe, "earlier_tunes", source);
  const auto add_command_line = [&](const Json& stage) {
    const auto line = json_get_or<std::string>(stage, "command_line", "", source);
    if (!line.empty()) result.command_lines.push_back(line);
  };
  add_command_line(recipe);
  for (const Json& stage : earlier) add_command_line(stage);
  add_command_line(tune);
  const auto judged = reported_object(recipe, "judged", source);
  if (!judged.empty()) read_judged(judged, source, original, result);
  for (const char* key :
       {"layers", "kl_calibration", "kl_heldout", "judged", "block_finetune", "command_line"})
    result.recipe.erase(key);
  const auto shorten = [](OrderedJson& stage) {
    if (!stage.is_object()) return;
    stage.erase("validations");
    stage.erase("command_line");
  };
  if (!tune.empty()) shorten(result.recipe["tune"]);
  if (!earlier.empty()) {
    for (OrderedJson& stage : result.recipe["earlier_tunes"]) shorten(stage);
  }
  return read;
}

}  // namespace bitsmith
