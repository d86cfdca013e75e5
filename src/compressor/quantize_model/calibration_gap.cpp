#include "compressor/quantize_model/calibration_gap.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "base/error.h"
#include "compressor/quantize_model/streamed_kl.h"

namespace bitsmith {

CalibrationGap calibration_gap(const std::shared_ptr<const ModelFiles>& original,
                               const std::shared_ptr<const ModelFiles>& quantized,
                               const TokenDataset& data, torch::Dtype dtype,
                               const RunContext& context) {
  const auto few = [](const torch::Tensor& windows) {
    return windows.narrow(0, 0, std::min(kGapWindows, windows.size(0)));
  };
  CalibrationGap gap;
  if (data.train.numel() == 0 || data.train.size(1) < 2) return gap;
  std::vector<torch::Tensor> texts = {few(data.train)};
  if (data.validation.size(0) > 0) texts.push_back(few(data.validation));
  const auto kl = streamed_kl(original, quantized, texts, dtype, context);
  gap.calibration = kl[0];
  if (kl.size() > 1) gap.heldout = kl[1];
  return gap;
}

std::string gap_line(const CalibrationGap& gap) {
  char line[120];
  if (gap.heldout) {
    std::snprintf(line, sizeof(line), "KL %.4f on calibration text, %.4f on held-out text",
                  gap.calibration.value(), *gap.heldout);
  } else {
    std::snprintf(line, sizeof(line), "KL %.4f on calibration text, none held out",
                  gap.calibration.value());
  }
  return concat(line, " (nats a token)");
}

OrderedJson to_json(const CalibrationGap& gap) {
  OrderedJson json = OrderedJson::object();
  if (gap.calibration) json["kl_calibration"] = *gap.calibration;
  if (gap.heldout) json["kl_heldout"] = *gap.heldout;
  return json;
}

CalibrationGap gap_from_json(const Json& json, const std::string& source) {
  CalibrationGap gap;
  if (json.contains("kl_calibration"))
    gap.calibration = json_get<double>(json, "kl_calibration", source);
  if (json.contains("kl_heldout")) gap.heldout = json_get<double>(json, "kl_heldout", source);
  return gap;
}

}  // namespace bitsmith
