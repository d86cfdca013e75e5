// Files -> ReportData. All of them are hostile: Error names file, key and what is wrong.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "format/quantized_checkpoint.h"
#include "pipeline/report/report_data.h"

namespace bitsmith {

// Bytes by place (embedding, attention, MLP, head, norms and the rest) and by part (codes,
// codebooks, scales, corrections, rotations, dense). What tensors do not account for is "headers"
// in both.
std::vector<ReportedBytes> bytes_by_place(const ModelFiles& files);
std::vector<ReportedBytes> bytes_by_part(const ModelFiles& files);

// A directory with bitsmith.json, and what its recipe says of the original model. The weights are
// read once, for their hash.
struct ResultFiles {
  ReportedResult result;
  ReportedModel original;  // nameless where the recipe does not say
};
ResultFiles read_result(const std::filesystem::path& folder);

// What one output of `eval --json` says.
struct Judgments {
  ReportedModel model;
  std::string teacher_sha256;  // empty: it does not say
};
Judgments read_judgments(const std::filesystem::path& file);

// All results, each with the judgments that are of it: by `model_sha256`, or where an output has
// none by the name of the model's file or folder. Judgments of a result's original are the
// original's. Results of one name are told apart by the names of their parent folders, or by a
// number. Throws UsageError for judgments of a model that is none of these.
ReportData read_report(const std::vector<std::filesystem::path>& results,
                       const std::vector<std::filesystem::path>& judgments);

}  // namespace bitsmith
