#include "compressor/quantize_model/model_card.h"

#include <algorithm>
#include <cstdio>
#include <map>

namespace bitsmith {
namespace {

constexpr size_t kCardRows = 20;

std::string license_of(const Checkpoint& base) {
  const std::string of = model_name(base.path());
  return concat("The weights derive from ", of, " and stay under that model's license. ",
                "Changed: the matrices listed below were replaced by quantized ones. Its license "
                "files, if it came with any, lie beside this file.");
}

// What the relative errors of the table are relative to.
std::string error_line(const Checkpoint& base, const QuantizeModelResult& result) {
  const bool outer_by_method =
      std::any_of(result.linears.begin(), result.linears.end(), [&](const LinearSummary& linear) {
        return is_outer_matrix(base.plan(), linear.module) &&
               linear.method != method_name(Method::kRtn);
      });
  return concat(
      "Relative error is tr((W-Q) H (W-Q)^T) / tr(W H W^T), with H of the calibration "
      "inputs; for embeddings, and where there was no calibration text, that of the "
      "weights themselves.",
      outer_by_method ? " Of an embedding or head by a method it is that of its objective: "
                        "tokens weigh by their frequency, and H is that of the final "
                        "hidden states where the matrix is a head."
                      : "");
}

}  // namespace

std::string model_name(const std::filesystem::path& path) {
  std::filesystem::path plain = std::filesystem::absolute(path).lexically_normal();
  if (!plain.has_filename()) plain = plain.parent_path();
  return plain.filename().string();
}

std::string linear_table(const std::vector<LinearSummary>& linears, size_t rows) {
  std::vector<LinearSummary> sorted = linears;
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return a.relative_error > b.relative_error;
  });
  std::string text =
      "| matrix | representation | method | relative error | bits a weight |\n"
      "|---|---|---|---|---|\n";
  for (size_t i = 0; i < std::min(rows, sorted.size()); ++i) {
    const LinearSummary& linear = sorted[i];
    char numbers[80];
    std::snprintf(numbers, sizeof(numbers), "%.3g | %.3f", linear.relative_error, linear.bits);
    text += concat("| ", linear.module, " | ", linear.representation, " | ", linear.method, " | ",
                   numbers, " |\n");
  }
  if (sorted.size() > rows)
    text += concat("\n", sorted.size() - rows, " more with smaller errors are in bitsmith.json.\n");
  return text;
}

std::string quantized_model_card(const Checkpoint& base, const QuantizeModelResult& result,
                                 const OrderedJson& recipe) {
  std::map<std::string, int> kinds;  // "aq2x8g8 by aqlm" -> matrices
  for (const LinearSummary& linear : result.linears)
    ++kinds[concat(linear.representation, " by ", linear.method)];
  std::string what;
  for (const auto& [kind, count] : kinds)
    what += concat(what.empty() ? "" : ", ", count, " matrices to ", kind);
  char sizes[200];
  std::snprintf(sizes, sizeof(sizes),
                "Decoder matrices hold %.3f bits a weight, the whole file %.3f; codes, codebooks, "
                "scales and everything dense are counted.",
                result.decoder_bits, result.file_bits);
  return concat("# ", model_name(base.path()), ", quantized by Bitsmith\n\n",
                "One-shot quantization, block by block: ", what, ".\n\n", sizes, "\n\n",
                error_line(base, result), "\n\n", linear_table(result.linears, kCardRows),
                "\n## How\n\n```json\n", recipe.dump(2),
                "\n```\n\nFor each matrix: bitsmith.json.\n\n## Base model and license\n\n",
                license_of(base), "\n");
}

}  // namespace bitsmith
