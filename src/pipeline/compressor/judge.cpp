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

Judgment judge(const fs::path& original, const fs::path& compressed,
               const std::vector<int32_t>& tokens, int64_t window, const SpeedProbe& measure_speed,
               const RunContext& context) {
  const auto teacher = load_runtime_language_model(original, context);
  const auto student = load_runtime_language_model(compressed, context);
  const auto judge_one = [&](const fs::path& model, LanguageModel& engine, LanguageModel* against) {
    Judged judged;
    const auto files = ModelFiles::open(model);
    judged.decoder_bits = files->decoder_bits();
    judged.file_bytes = files->checkpoint().file_bytes();
    judged.quality = evaluate(engine, against, tokens, {.context = window}, context);
    judged.speed = measure_speed(model);
    return judged;
  };
  Judgment judgment;
  judgment.original = judge_one(original, *teacher, nullptr);
  judgment.compressed = judge_one(compressed, *student, teacher.get());
  return judgment;
}

OrderedJson to_json(const Judged& j) {
  return {{"bits", j.decoder_bits},
          {"file_bytes", j.file_bytes},
          {"perplexity", j.quality.perplexity},
          {"kl", j.quality.kl},
          {"kl_p99", j.quality.kl_p99},
          {"top1", j.quality.top1},
          {"tokens", j.quality.tokens},
          {"tokens_per_second", j.speed.tokens_per_second},
          {"peak_memory_bytes", j.speed.peak_memory_bytes}};
}

std::string judgment_table(const Judgment& judgment, bool with_speed) {
  std::string text = "| | weight file | decoder bits a weight | perplexity | KL | top-1 |";
  text += with_speed ? " tokens/s | peak memory |\n|---|---|---|---|---|---|---|---|\n"
                     : "\n|---|---|---|---|---|---|\n";
  for (const auto* j : {&judgment.original, &judgment.compressed}) {
    const bool first = j == &judgment.original;
    text +=
        concat("| ", first ? "original" : "compressed", " | ",
               format_megabytes(static_cast<double>(j->file_bytes)), " | ",
               decimals("%.2f", j->decoder_bits), " | ", decimals("%.2f", j->quality.perplexity),
               " | ", first ? "-" : decimals("%.4f", j->quality.kl), " | ",
               first ? "-" : decimals("%.1f %%", 100 * j->quality.top1), " |");
    if (with_speed) {
      text += concat(decimals(" %.1f", j->speed.tokens_per_second), " | ",
                     format_bytes(static_cast<double>(j->speed.peak_memory_bytes)), " |");
    }
    text += "\n";
  }
  return text;
}

}  // namespace bitsmith
