// Inverse frequencies of the rotary embedding: transformers' modeling_rope_utils.py.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "checkpoint/model_config.h"

namespace bitsmith {
namespace {

// Llama 3.1: long waves are slowed by `factor`, short ones kept, those between blended.
double llama3_frequency(double frequency, const RopeScaling& scaling) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double context = static_cast<double>(scaling.original_max_position_embeddings);
  if (wavelength < context / scaling.high_freq_factor) return frequency;
  if (wavelength > context / scaling.low_freq_factor) return frequency / scaling.factor;
  const double kept = (context / wavelength - scaling.low_freq_factor) /
                      (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - kept) * frequency / scaling.factor + kept * frequency;
}

}  // namespace

std::vector<double> rope_inverse_frequencies(const ModelConfig& config, int64_t length) {
  const RopeScaling& scaling = config.rope_scaling;
  const double dim = static_cast<double>(config.head_dim);
  double base = config.rope_theta;
  if (scaling.type == RopeScaling::Type::kDynamic) {
    const int64_t trained = scaling.original_max_position_embeddings > 0
                                ? scaling.original_max_position_embeddings
                                : config.max_position_embeddings;
    const double stretch =
        static_cast<double>(std::max(length, trained)) / static_cast<double>(trained);
    base *= std::pow(scaling.factor * stretch - (scaling.factor - 1), dim / (dim - 2));
  }
  std::vector<double> result(static_cast<size_t>(config.head_dim / 2));
  for (size_t i = 0; i < result.size(); ++i) {
    const double frequency = std::pow(base, -2.0 * static_cast<double>(i) / dim);
    switch (scaling.type) {
      case RopeScaling::Type::kLinear:
        result[i] = frequency / scaling.factor;
        break;
      case RopeScaling::Type::kLlama3:
        result[i] = llama3_frequency(frequency, scaling);
        break;
      default:
        result[i] = frequency;
    }
  }
  return result;
}

}  // namespace bitsmith
