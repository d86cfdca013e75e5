#include "pipeline/compressor/judge.h"

#include <cstdio>

#include "base/error.h"
#include "base/log.h"
#include "format/quantized_checkpoint.h"
#include "runtime/runtime_language_model.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

// "%.2f" of a number.
std::string decimals(const char* pattern, double value) {
  char text[64];
  std::snprintf(text, sizeof(text), pattern, value);
  return text;
}

}  // namespace

Judgment judge(const fs::path& original, const std::optional<fs::path>& one_shot,
               const fs::path& compressed, const std::vector<int32_t>& tokens, int64_t window,
               const SpeedProbe& measure_speed, const RunContext& context) {
  const auto teacher = load_runtime_language_model(original, context);
  const auto judge_one = [&](const fs::path& model, LanguageModel& engine, LanguageModel* against) {
    Judged judged;
    const auto files = ModelFiles::open(model);
    judged.decoder_bits = files->decoder_bits();
    judged.file_bytes = files->checkpoint().file_bytes();
    judged.quality = evaluate(engine, against, tokens, {.context = window}, context);
    return judged;
  };
  const auto judge_student = [&](const fs::path& model) {
    return judge_one(model, *load_runtime_language_model(model, context), teacher.get());
  };
  Judgment judgment;
  judgment.original = judge_one(original, *teacher, nullptr);
  if (one_shot) judgment.one_shot = judge_student(*one_shot);
  judgment.compressed = judge_student(compressed);
  judgment.original.speed = measure_speed(original);
  judgment.compressed.speed = measure_speed(compressed);
  return judgment;
}

OrderedJson to_json(const Judged& j) {
  OrderedJson json = {{"bits", j.decoder_bits},
                      {"file_bytes", j.file_bytes},
                      {"perplexity", j.quality.perplexity},
                      {"kl", j.quality.kl},
                      {"kl_p99", j.quality.kl_p99},
                      {"top1", j.quality.top1},
                      {"tokens", j.quality.tokens}};
  if (!j.speed) return json;
  json["tokens_per_second"] = j.speed->tokens_per_second;
  json["peak_memory_bytes"] = j.speed->peak_memory_bytes;
  return json;
}

std::string judgment_table(const Judgment& judgment, bool with_speed) {
  std::string text = "| | weight file | decoder bits a weight | perplexity | KL | top-1 |";
  text += with_speed ? " tokens/s | peak memory |\n|---|---|---|---|---|---|---|---|\n"
                     : "\n|---|---|---|---|---|---|\n";
  const auto add_row = [&](const char* name, const Judged& j, bool is_original) {
    text += concat("| ", name, " | ", format_megabytes(static_cast<double>(j.file_bytes)), " | ",
                   decimals("%.2f", j.decoder_bits), " | ", decimals("%.2f", j.quality.perplexity),
                   " | ", is_original ? "-" : decimals("%.4f", j.quality.kl), " | ",
                   is_original ? "-" : decimals("%.1f %%", 100 * j.quality.top1), " |");
    if (with_speed && j.speed) {
      text += concat(decimals(" %.1f", j.speed->tokens_per_second), " | ",
                     format_bytes(static_cast<double>(j.speed->peak_memory_bytes)), " |");
    } else if (with_speed) {
      text += " - | - |";
    }
    text += "\n";
  };
  add_row("original", judgment.original, true);
  if (judgment.one_shot) add_row("one-shot, before tuning", *judgment.one_shot, false);
  add_row("compressed", judgment.compressed, false);
  return text;
}

}  // namespace bitsmith
