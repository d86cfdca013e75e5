#include "apps/judge.h"

#include "apps/command.h"
#include "base/error.h"
#include "base/log.h"
#include "base/subprocess.h"
#include "format/quantized_checkpoint.h"
#include "runtime/runtime_language_model.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

Json bench_in_own_process(const fs::path& model, int threads) {
  try {
    const std::string output = output_of(
        {"/proc/self/exe", "bench", "--threads", std::to_string(threads), "--prompt-tokens", "128",
         "--generate-tokens", "64", "--repeats", "2", "--quiet", "--json", "--", model.string()});
    return parse_json(output, "bitsmith bench");
  } catch (const Error&) {
    if (interrupted()) throw Interrupted("judging was stopped; the same command judges anew");
    throw;
  }
}

Judged judge_one(const fs::path& model, LanguageModel& engine, LanguageModel* teacher,
                 const std::vector<int32_t>& tokens, const EvaluateOptions& options) {
  Judged judged;
  const auto files = ModelFiles::open(model);
  judged.decoder_bits = files->decoder_bits();
  judged.file_bytes = files->checkpoint().file_bytes();
  judged.quality = evaluate(engine, teacher, tokens, options);
  const Json bench = bench_in_own_process(model, options.threads);
  judged.tokens_per_second = json_get<double>(bench, "tokens_per_second", "bitsmith bench");
  judged.peak_memory_bytes = json_get<uint64_t>(bench, "peak_memory_bytes", "bitsmith bench");
  return judged;
}

}  // namespace

Judgment judge(const fs::path& original, const fs::path& compressed,
               const std::vector<int32_t>& tokens, int64_t context, int threads) {
  const EvaluateOptions options = {.context = context, .threads = threads};
  const auto teacher = load_runtime_language_model(original, threads);
  const auto student = load_runtime_language_model(compressed, threads);
  Judgment judgment;
  judgment.original = judge_one(original, *teacher, nullptr, tokens, options);
  judgment.compressed = judge_one(compressed, *student, teacher.get(), tokens, options);
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
          {"tokens_per_second", j.tokens_per_second},
          {"peak_memory_bytes", j.peak_memory_bytes}};
}

std::string judgment_table(const Judgment& judgment, bool with_speed) {
  std::string text = "| | weight file | decoder bits a weight | perplexity | KL | top-1 |";
  text += with_speed ? " tokens/s | peak memory |\n|---|---|---|---|---|---|---|---|\n"
                     : "\n|---|---|---|---|---|---|\n";
  for (const auto* j : {&judgment.original, &judgment.compressed}) {
    const bool first = j == &judgment.original;
    text += concat("| ", first ? "original" : "compressed", " | ",
                   format_megabytes(static_cast<double>(j->file_bytes)), " | ",
                   format("%.2f", j->decoder_bits), " | ", format("%.2f", j->quality.perplexity),
                   " | ", first ? "-" : format("%.4f", j->quality.kl), " | ",
                   first ? "-" : format("%.1f %%", 100 * j->quality.top1), " |");
    if (with_speed) {
      text += concat(format(" %.1f", j->tokens_per_second), " | ",
                     format_bytes(static_cast<double>(j->peak_memory_bytes)), " |");
    }
    text += "\n";
  }
  return text;
}

}  // namespace bitsmith
