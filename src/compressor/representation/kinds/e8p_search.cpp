#include "compressor/representation/kinds/e8p_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bitsmith {
namespace {

constexpr int64_t kShortPoints = 256;

}  // namespace

E8pSearch::E8pSearch(const E8pSpec& spec, const torch::Tensor& scales, int64_t per_row,
                     const SearchKernels& kernels)
    : spec_(spec), kernels_(kernels), scales_(scales.detach().contiguous()), per_row_(per_row) {
  for (int stage = 0; stage < spec.stages(); ++stage) points_.push_back(spec.points(stage));
  for (int64_t d = 0; d < kE8Size; ++d) {
    for (int64_t k = 0; k < kShortPoints; ++k) {
      short_columns_.push_back(e8_short_points()[static_cast<size_t>(k * kE8Size + d)]);
    }
  }
}

void E8pSearch::prepare(int64_t slot, const float* sub_hessian) {
  Tables& tables = tables_[static_cast<size_t>(slot)];
  tables.sub_hessian.assign(sub_hessian, sub_hessian + kE8Size * kE8Size);
  tables.nearest.prepare(sub_hessian);
  if (spec_.code_bits(spec_.stages() - 1) != 8) return;
  tables.short_norms.assign(kShortPoints, 0.0f);
  for (int64_t k = 0; k < kShortPoints; ++k) {
    const float* p = point(1, static_cast<int32_t>(k));
    for (int64_t a = 0; a < kE8Size; ++a) {
      for (int64_t b = 0; b < kE8Size; ++b) {
        tables.short_norms[k] += sub_hessian[a * kE8Size + b] * p[a] * p[b];
      }
    }
  }
}

int32_t E8pSearch::best_of_stage(const Tables& tables, int stage, const float* linear,
                                 int32_t without) const {
  if (spec_.code_bits(stage) == 16) return tables.nearest.find(kernels_, linear, without).code;
  if (without == E8pNearest::kNone) {
    int32_t best;
    kernels_.nearest(tables.short_norms.data(), short_columns_.data(), linear, 1, kE8Size,
                     kShortPoints, &best);
    return best;
  }
  float costs[kShortPoints];
  kernels_.costs(tables.short_norms.data(), short_columns_.data(), linear, 1, kE8Size, kShortPoints,
                 costs);
  costs[without] = std::numeric_limits<float>::infinity();
  return static_cast<int32_t>(std::min_element(costs, costs + kShortPoints) - costs);
}

void E8pSearch::search(int64_t slot, int64_t count, const int64_t* code_groups, const float* linear,
                       int32_t* codes) const {
  const Tables& tables = tables_[static_cast<size_t>(slot)];
  for (int64_t i = 0; i < count; ++i, linear += kE8Size, codes += spec_.stages()) {
    const float* scales = scales_of(code_groups[i]);
    if (spec_.stages() == 2) {
      search_residual(tables, scales, linear, codes);
      continue;
    }
    if (scales[0] == 0) continue;  // every code is as good
    float scaled[kE8Size];
    for (int64_t d = 0; d < kE8Size; ++d) scaled[d] = linear[d] / scales[0];
    const auto found = tables.nearest.find(kernels_, scaled);
    if (found.cost < tables.nearest.cost(codes[0], scaled)) codes[0] = found.code;
  }
}

void E8pSearch::search_residual(const Tables& tables, const float* scales, const float* linear,
                                int32_t* codes) const {
  // The best code of a stage if the other one gives `other` times its scale.
  const auto improve = [&](int stage, const float* other, float other_scale, int32_t* trial) {
    if (scales[stage] == 0) return;  // every code is as good
    float rest[kE8Size];
    for (int64_t a = 0; a < kE8Size; ++a) {
      float product = 0;
      for (int64_t b = 0; b < kE8Size; ++b) {
        product += tables.sub_hessian[a * kE8Size + b] * other[b];
      }
      rest[a] = (linear[a] - other_scale * product) / scales[stage];
    }
    trial[stage] = best_of_stage(tables, stage, rest);
  };
  // Both stages by turns, until neither helps; returns the cost.
  const auto descend = [&](int32_t* from) {
    for (float least = cost(tables, scales, linear, from);;) {
      int32_t trial[2] = {from[0], from[1]};
      improve(0, point(1, trial[1]), scales[1], trial);
      improve(1, point(0, trial[0]), scales[0], trial);
      const float reached = cost(tables, scales, linear, trial);
      if (!(reached < least)) return least;
      least = reached;
      std::copy_n(trial, 2, from);
    }
  };
  int32_t from_nothing[2] = {codes[0], codes[1]};
  improve(0, point(1, codes[1]), 0.0f, from_nothing);
  improve(1, point(0, from_nothing[0]), scales[0], from_nothing);
  const float least = descend(codes);
  if (descend(from_nothing) < least) std::copy_n(from_nothing, 2, codes);
}

void E8pSearch::search_neighbors(int64_t count, const int64_t* code_groups, const float* wanted,
                                 int32_t* codes) const {
  const Tables& tables = tables_.front();
  const int stages = spec_.stages();
  for (int64_t i = 0; i < count; ++i, wanted += kE8Size, codes += stages) {
    const float* scales = scales_of(code_groups[i]);
    float lowest = std::numeric_limits<float>::infinity();
    int32_t best[2];
    for (int stage = 0; stage < stages; ++stage) {
      if (scales[stage] == 0) continue;
      float rest[kE8Size];
      for (int64_t d = 0; d < kE8Size; ++d) {
        const float other =
            stages == 2 ? scales[1 - stage] * point(1 - stage, codes[1 - stage])[d] : 0.0f;
        rest[d] = (wanted[d] - other) / scales[stage];
      }
      int32_t trial[2] = {codes[0], codes[stages - 1]};
      trial[stage] = best_of_stage(tables, stage, rest, codes[stage]);
      const float reached = cost(tables, scales, wanted, trial);
      if (!(reached < lowest)) continue;
      lowest = reached;
      std::copy_n(trial, 2, best);
    }
    if (std::isfinite(lowest)) std::copy_n(best, stages, codes);
  }
}

float E8pSearch::cost(const Tables& tables, const float* scales, const float* linear,
                      const int32_t* codes) const {
  float values[kE8Size];
  decode_group(scales, codes, values);
  float cost = 0;
  for (int64_t a = 0; a < kE8Size; ++a) {
    float product = 0;
    for (int64_t b = 0; b < kE8Size; ++b) {
      product += tables.sub_hessian[a * kE8Size + b] * values[b];
    }
    cost += values[a] * (product - 2 * linear[a]);
  }
  return cost;
}

void E8pSearch::decode_group(const float* scales, const int32_t* codes, float* values) const {
  for (int64_t d = 0; d < kE8Size; ++d) values[d] = scales[0] * point(0, codes[0])[d];
  if (spec_.stages() == 1) return;
  for (int64_t d = 0; d < kE8Size; ++d) values[d] += scales[1] * point(1, codes[1])[d];
}

void E8pSearch::decode(int64_t count, const int64_t* code_groups, const int32_t* codes,
                       float* values) const {
  for (int64_t i = 0; i < count; ++i) {
    decode_group(scales_of(code_groups[i]), codes + i * spec_.stages(), values + i * kE8Size);
  }
}

}  // namespace bitsmith
