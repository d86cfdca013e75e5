#include "compressor/tune/tune_log.h"

#include "base/error.h"

namespace bitsmith {

TuneLog::TuneLog(const std::filesystem::path& path, bool first_rank)
    : file_(std::fopen(first_rank ? path.c_str() : "/dev/null", "a")) {
  if (file_ == nullptr) throw Error(concat("cannot write the log ", path.string()));
}
TuneLog::~TuneLog() { std::fclose(file_); }

void TuneLog::step(int64_t step, int64_t tokens, Loss loss, const TuningStepResult& done,
                   double seconds) {
  std::fprintf(file_, "{\"step\": %ld, \"tokens\": %ld, \"%s\": %.6g, \"seconds\": %.1f",
               static_cast<long>(step), static_cast<long>(tokens),
               loss == Loss::kKl ? "kl" : "loss", done.loss, seconds);
  if (done.gradient_norm) std::fprintf(file_, ", \"gradient_norm\": %.4g", *done.gradient_norm);
  if (done.codes) {
    std::fprintf(file_, ", \"changed\": %ld, \"update_power\": %.4g",
                 static_cast<long>(done.codes->changed), done.codes->update_power);
  }
  std::fprintf(file_, ", \"part_seconds\": {");
  for (size_t i = 0; i < kStepParts; ++i) {
    std::fprintf(file_, "%s\"%s\": %.4g", i > 0 ? ", " : "",
                 step_part_name(static_cast<StepPart>(i)), done.seconds[i]);
  }
  std::fprintf(file_, "}}\n");
  std::fflush(file_);
}

void TuneLog::validation(int64_t step, double kl, double seconds) {
  std::fprintf(file_, "{\"step\": %ld, \"validation_kl\": %.6g, \"seconds\": %.1f}\n",
               static_cast<long>(step), kl, seconds);
  std::fflush(file_);
}

void TuneLog::pass(int64_t pass, const CodePassOutcome& outcome, double seconds) {
  OrderedJson line = {{"pass", pass}};
  line.update(outcome.log);
  line["changed"] = outcome.changed;
  line["held_out_kl"] = outcome.kl;
  line["seconds"] = seconds;
  std::fprintf(file_, "%s\n", line.dump().c_str());
  std::fflush(file_);
}

}  // namespace bitsmith
