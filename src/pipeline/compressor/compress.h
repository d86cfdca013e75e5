// The whole pipeline: calibrate, quantize, tune, judge.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/options.h"
#include "base/run_context.h"
#include "compressor/budget/budget_options.h"
#include "compressor/quantize_model/calibration_gap.h"
#include "compressor/quantize_model/quantize_model_options.h"
#include "pipeline/compressor/judge.h"
#include "pipeline/compressor/presets.h"
#include "pipeline/compressor/training_data.h"

namespace bitsmith {

struct CompressOptions {
  // What to aim at, see presets.h.
  // Default: 3bit
  std::string preset = "3bit";

  // In place of a preset: the largest weight file. Representations are chosen for it
  // (budget/budget.h); all else is as in the default preset.
  // Default: 0, not asked for
  ByteSize target_size;

  // Time for the whole pipeline. Tuning takes what quantizing and judging leave.
  // Default: 0, the preset's
  double minutes = 0;

  // Tokens that the one-shot quantizer learns from; tuning uses all.
  // Default: 0, the preset's, fewer where the minutes are short
  int64_t calibration_tokens = 0;

  // Of quantizing, see QuantizeModelOptions.
  // Default: as there
  ErrorMeasure objective = ErrorMeasure::kLayer;
  double guided_share = 0.5;
  RowWeights row_weights = RowWeights::kNone;

  // Tuning trains embedding and head too, see TuneOptions::embedding.
  // Default: false
  bool tune_embedding = false;

  template <typename Self, typename Visitor>
  static void visit(Self& o, Visitor& v);
};

template <typename Self, typename Visitor>
void CompressOptions::visit(Self& o, Visitor& v) {
  v(Option{.key = "preset", .help = presets_help()}, o.preset);
  v(Option{.key = "target_size",
           .help = "In place of a preset: the largest weight file, as 58MB; each matrix gets what "
                   "measured KL says that it needs",
           .recorded = Option::Recorded::kIfChanged,
           .shows_default = false},
    o.target_size);
  v(Option{.key = "minutes",
           .help = "Time for the whole pipeline (default: the preset's)",
           .range = {{0.1, 1e6}},
           .shows_default = false},
    o.minutes);
  v(Option{.key = "calibration_tokens",
           .help =
               "How many tokens of the text the one-shot quantizer learns from; tuning uses all "
               "(default: the preset's, fewer where the minutes are short)",
           .range = at_least(0),
           .shows_default = false},
    o.calibration_tokens);
  visit_error_measure(v, o.objective, o.guided_share, o.row_weights);
  v(Option{.key = "tune_embedding",
           .help = "Tuning trains embedding and head too: steps are slower and take more memory",
           .recorded = Option::Recorded::kIfChanged},
    o.tune_embedding);
}

struct CompressJob {
  std::filesystem::path model, out;
  bool force = false;  // replace an existing `out` that Bitsmith made
  CompressOptions options;
  TrainingDataOptions data;
  SpeedProbe measure_speed;
};

struct CompressOutcome {
  // None where an earlier run was killed after it had put the result in place.
  std::optional<Judgment> judgment;
  CalibrationGap one_shot;  // of the model before it was tuned; likewise
  // Markdown, as the model card has it; with speed and memory, and what was chosen for a target,
  // where this run judged.
  std::string table;
  double seconds = 0;  // of this run
};

// The result is in job.out. An unfinished run of the same job is gone on with. Throws UsageError
// (also where quantizing alone takes longer than the minutes), Error, and Interrupted with its
// state saved.
CompressOutcome compress(const CompressJob& job, const RunContext& context);

}  // namespace bitsmith
