// How much better a quantized model is on the text that it was calibrated on than on other text of
// the same kind: what its one-shot methods have learned by heart.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/run_context.h"
#include "compressor/calibration/token_dataset.h"
#include "format/quantized_checkpoint.h"

namespace bitsmith {

// KL(original || quantized), mean over the scored positions, nats a token; none where there are no
// windows, or where it is not finite (a warning says so).
struct CalibrationGap {
  std::optional<double> calibration, heldout;
};
inline constexpr int64_t kGapWindows = 4;  // of each, at most

// On the first kGapWindows windows of data.train and of data.validation, all but the last position
// of each, in one pass of each model, a block in memory at a time. `dtype` of the passes. Throws
// Interrupted.
CalibrationGap calibration_gap(const std::shared_ptr<const ModelFiles>& original,
                               const std::shared_ptr<const ModelFiles>& quantized,
                               const TokenDataset& data, torch::Dtype dtype,
                               const RunContext& context);

// "KL 0.1050 on calibration text, 0.2460 on held-out text (nats a token)"; there is one of the
// first at least.
std::string gap_line(const CalibrationGap& gap);
// `kl_calibration`, `kl_heldout`: those that there are.
OrderedJson to_json(const CalibrationGap& gap);
CalibrationGap gap_from_json(const Json& json, const std::string& source);

}  // namespace bitsmith
