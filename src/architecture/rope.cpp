#include "architecture/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace bitsmith {
namespace {

// Llama 3.1: long waves are slowed by `factor`, short ones kept, those between blended.
double llama3_frequency(double frequency, const RopePlan& rope) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double context = static_cast<double>(rope.trained_context);
  if (wavelength < context / rope.high_freq_factor) return frequency;
  if (wavelength > context / rope.low_freq_factor) return frequency / rope.factor;
  const double kept = (context / wavelength - rope.low_freq_factor) /
                      (rope.high_freq_factor - rope.low_freq_factor);
  return (1 - kept) * frequency / rope.factor + kept * frequency;
}

// YaRN (Peng et al. 2023): pairs that turn more than beta_fast times over the trained context are
// kept, those that turn less than beta_slow times slowed, with a ramp between.
struct YarnRamp {
  double low, high;
  explicit YarnRamp(const RopePlan& rope) {
    const auto pair_of = [&](double turns) {
      return static_cast<double>(rope.dims) *
             std::log(static_cast<double>(rope.trained_context) / (turns * 2 * std::numbers::pi)) /
             (2 * std::log(rope.theta));
    };
    low = pair_of(rope.beta_fast);
    high = pair_of(rope.beta_slow);
    if (rope.truncate) low = std::floor(low), high = std::ceil(high);
    low = std::max(low, 0.0);
    high = std::min(high, static_cast<double>(rope.dims - 1));
    if (low == high) high += 0.001;
  }
  double slowed(size_t pair) const {  // 0 .. 1
    return std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
  }
};

// Dynamic NTK: theta grows with the sequence beyond the trained context.
double dynamic_theta(const RopePlan& rope, int64_t length) {
  const double dims = static_cast<double>(rope.dims);
  const double stretch = static_cast<double>(std::max(length, rope.trained_context)) /
                         static_cast<double>(rope.trained_context);
  return rope.theta * std::pow(rope.factor * stretch - (rope.factor - 1), dims / (dims - 2));
}

}  // namespace

double yarn_attention(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

std::vector<double> rope_inverse_frequencies(const RopePlan& rope, int64_t length) {
  using Scaling = RopePlan::Scaling;
  const double theta = rope.scaling == Scaling::kDynamic ? dynamic_theta(rope, length) : rope.theta;
  std::vector<double> result(static_cast<size_t>(rope.dims / 2));
  for (size_t i = 0; i < result.size(); ++i) {
    const double frequency =
        std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(rope.dims));
    switch (rope.scaling) {
      case Scaling::kNone:
      case Scaling::kDynamic:
        result[i] = frequency;
        break;
      case Scaling::kLinear:
        result[i] = frequency / rope.factor;
        break;
      case Scaling::kLlama3:
        result[i] = llama3_frequency(frequency, rope);
        break;
      case Scaling::kYarn: {
        const double slowed = YarnRamp(rope).slowed(i);
        result[i] = frequency / rope.factor * slowed + frequency * (1 - slowed);
        break;
      }
      case Scaling::kLongRope: {
        const auto& divisors =
            length > rope.trained_context ? rope.long_factors : rope.short_factors;
        BITSMITH_CHECK(divisors.size() == result.size());
        result[i] = frequency / divisors[i];
        break;
      }
    }
  }
  return result;
}

int64_t rope_length_class(const RopePlan& rope, int64_t length) {
  switch (rope.scaling) {
    case RopePlan::Scaling::kDynamic:
      return std::max(length, rope.trained_context);
    case RopePlan::Scaling::kLongRope:
      return length > rope.trained_context ? rope.trained_context + 1 : 1;
    default:
      return 1;
  }
}

}  // namespace bitsmith
