// The log of a tuning run: JSON lines, appended, each of them a step, a validation, or what a pass
// over the blocks has come to.
#pragma once
#include <cstdint>
#include <cstdio>
#include <filesystem>

#include "compressor/tune/code_pass.h"
#include "compressor/tune/tuning_step.h"

namespace bitsmith {

// `seconds` are those of the run so far, before an interruption too.
class TuneLog {
 public:
  // Of the ranks of a run the first writes; what the others say is dropped. Error where `path`
  // cannot be written.
  TuneLog(const std::filesystem::path& path, bool first_rank);
  ~TuneLog();
  TuneLog(const TuneLog&) = delete;
  TuneLog& operator=(const TuneLog&) = delete;

  // `tokens`: of all steps so far; `loss`: what they lower.
  void step(int64_t step, int64_t tokens, Loss loss, const TuningStepResult& done, double seconds);
  void validation(int64_t step, double kl, double seconds);
  void pass(int64_t pass, const CodePassOutcome& outcome, double seconds);

 private:
  std::FILE* file_;
};

}  // namespace bitsmith
