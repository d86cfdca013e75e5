#include "compressor/quantize/uniform_grid.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "base/half.h"
#include "compressor/parallel.h"

namespace bitsmith {
namespace {

struct Grid {
  float scale = 0, zero = 0;
};

// Clipping ranges worth trying: heavy clipping pays at few bits only.
std::vector<float> clipping_grid(int nbits) {
  const double lowest = nbits <= 2 ? 0.25 : nbits == 3 ? 0.4 : nbits == 4 ? 0.55 : 0.8;
  constexpr int kSteps = 24;
  std::vector<float> shares;
  for (int i = 0; i < kSteps; ++i)
    shares.push_back(static_cast<float>(lowest + (1 - lowest) * i / (kSteps - 1.0)));
  return shares;
}

float as_fp16(float value) { return fp16_to_float(float_to_fp16(value)); }

// The nearest integer, halves to even, of a value from 0 to 255.
float nearest(float value) {
  constexpr float kShift = 0x1.8p23f;
  return (value + kShift) - kShift;
}

// The best grid of one group among those offered, each also after one least-squares step on its
// scale: s = sum h w c / sum h c^2 with c = code - zero.
class Search {
 public:
  Search(std::span<const float> group, std::span<const float> weights, int nbits)
      : group_(group), weights_(weights), largest_(static_cast<float>((1 << nbits) - 1)) {}

  void offer(Grid grid) {
    grid.scale = as_fp16(grid.scale);
    const Sums sums = judge(grid);
    if (sums.power <= 0) return;
    grid.scale = as_fp16(sums.product / sums.power);
    judge(grid);
  }
  Grid best;

 private:
  struct Sums {
    float error = 0, product = 0, power = 0;  // of h d^2, h w c, h c^2
  };

  Sums judge(const Grid& grid) {
    const float scale = grid.scale, zero = grid.zero, largest = largest_;
    const float safe = scale == 0 ? 1.0f : scale;
    float error = 0, product = 0, power = 0;
    const float* w = group_.data();
    const float* h = weights_.data();
    const size_t size = group_.size();
#pragma omp simd reduction(+ : error, product, power)
    for (size_t i = 0; i < size; ++i) {
      const float raised = std::max(w[i] / safe + zero, 0.0f);
      const float level = nearest(std::min(raised, largest)) - zero;
      const float difference = w[i] - level * scale;
      error += h[i] * difference * difference;
      product += h[i] * w[i] * level;
      power += h[i] * level * level;
    }
    if (error < lowest_) {
      lowest_ = error;
      best = grid;
    }
    return {error, product, power};
  }

  std::span<const float> group_, weights_;
  float largest_, lowest_ = std::numeric_limits<float>::infinity();
};

Grid search_symmetric(std::span<const float> group, std::span<const float> weights, int nbits) {
  Search search(group, weights, nbits);
  const auto half = static_cast<float>(1 << (nbits - 1));
  float extreme = 0;
  for (const float w : group) extreme = std::max(extreme, std::abs(w));
  // The longer end holds `half` steps; its sign is the scale's.
  for (const float share : clipping_grid(nbits)) {
    for (const float steps : {-half, half}) search.offer({extreme * (share / steps), half});
  }
  return search.best;
}

Grid search_with_zeros(std::span<const float> group, std::span<const float> weights, int nbits) {
  Search search(group, weights, nbits);
  const auto largest = static_cast<float>((1 << nbits) - 1);
  // The range holds zero, so that the zero point is a code.
  const auto [least, most] = std::minmax_element(group.begin(), group.end());
  const float low = std::min(*least, 0.0f), high = std::max(*most, 0.0f);
  for (const float share : clipping_grid(nbits)) {
    const float scale = (high - low) * (share / largest);
    const float center = scale == 0 ? 0.0f : std::nearbyint(low * -share / scale);
    for (const float shift : {0.0f, -1.0f, 1.0f})
      search.offer({scale, std::clamp(center + shift, 0.0f, largest)});
  }
  return search.best;
}

torch::Tensor codes_on(const torch::Tensor& groups, const torch::Tensor& scales,
                       const torch::Tensor& zeros, int nbits) {
  const auto safe = torch::where(scales == 0, torch::ones_like(scales), scales);
  return (groups / safe).add_(zeros).round_().clamp_(0, (1 << nbits) - 1);
}

}  // namespace

UniformGrid best_uniform_grid(const torch::Tensor& groups, const torch::Tensor& weights,
                              const UniformSpec& spec) {
  const auto shape = groups.sizes().slice(0, groups.dim() - 1);
  const auto flat = groups.reshape({-1, groups.size(-1)}).contiguous();
  const int64_t count = flat.size(0), size = flat.size(1);
  // One row of weights for all groups, or one for each.
  const bool shared = !weights.defined() || weights.numel() == size;
  const auto importance = !weights.defined() ? torch::ones({size}, flat.options())
                          : shared           ? weights.contiguous()
                                             : weights.expand_as(groups).contiguous();
  auto scales = torch::empty({count}, flat.options());
  auto zeros = torch::empty({count}, torch::kInt);
  const float* values = flat.const_data_ptr<float>();
  const float* weight = importance.const_data_ptr<float>();
  float* scale = scales.data_ptr<float>();
  int* zero = zeros.data_ptr<int>();
  const int64_t at_once = std::max<int64_t>(1, (int64_t{1} << 14) / size);
  parallel_tasks((count + at_once - 1) / at_once, [&](int64_t task) {
    for (int64_t i = task * at_once; i < std::min(count, (task + 1) * at_once); ++i) {
      const std::span group(values + i * size, static_cast<size_t>(size));
      const std::span h(weight + (shared ? 0 : i * size), static_cast<size_t>(size));
      const Grid best = spec.zero_points ? search_with_zeros(group, h, spec.nbits)
                                         : search_symmetric(group, h, spec.nbits);
      scale[i] = best.scale;
      zero[i] = static_cast<int>(best.zero);
    }
  });
  return {scales.reshape(shape), zeros.reshape(shape)};
}

torch::Tensor uniform_codes(const torch::Tensor& groups, const UniformGrid& grid, int nbits) {
  return codes_on(groups, grid.scales.unsqueeze(-1), grid.zeros.unsqueeze(-1), nbits)
      .to(torch::kInt);
}

}  // namespace bitsmith
