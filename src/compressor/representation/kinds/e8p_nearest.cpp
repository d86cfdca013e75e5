#include "compressor/representation/kinds/e8p_nearest.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "compressor/torch.h"

namespace bitsmith {
namespace {

constexpr int64_t kPatterns = 256, kSigns = 128;
constexpr float kShifts[2] = {0.25f, -0.25f};

// What does not depend on B.
struct E8pConstants {
  alignas(64) float magnitudes[kE8Size][kPatterns];  // |q| of the patterns, transposed
  // +1 or -1 of the signs of even and of odd patterns, transposed.
  alignas(64) float signs[2][kE8Size][kSigns];

  E8pConstants() {
    for (int64_t d = 0; d < kE8Size; ++d) {
      for (int64_t k = 0; k < kPatterns; ++k) {
        magnitudes[d][k] = 0.5f * static_cast<float>(e8p_patterns()[k][d]);
      }
      for (int odd = 0; odd < 2; ++odd) {
        for (int64_t n = 0; n < kSigns; ++n) {
          const int last = (std::popcount(static_cast<unsigned>(n)) + odd) % 2;
          const bool minus = d < kE8Size - 1 ? (n >> d & 1) != 0 : last != 0;
          signs[odd][d][n] = minus ? -1.0f : 1.0f;
        }
      }
    }
  }
};

const E8pConstants& constants() {
  static const E8pConstants all;
  return all;
}

bool is_odd(int64_t pattern) { return pattern >= kPatterns / 2; }

// The order of E8pNearest::norms_: pattern, shift, signs.
int64_t place_of(int32_t code) { return (code & 255) << 8 | code >> 8; }
int32_t code_of(int64_t place) { return static_cast<int32_t>((place & 255) << 8 | place >> 8); }

template <typename Square>
void multiply(const Square& matrix, const float* x, float* y) {
  for (int64_t a = 0; a < kE8Size; ++a) {
    float sum = 0;
    for (int64_t b = 0; b < kE8Size; ++b) sum += matrix[a * kE8Size + b] * x[b];
    y[a] = sum;
  }
}

float dot(const float* a, const float* b) {
  float sum = 0;
  for (int64_t d = 0; d < kE8Size; ++d) sum += a[d] * b[d];
  return sum;
}

// p^T B p of all signs of a pattern with a shift.
void norms_of_signs(const float* sub_hessian, int64_t pattern, float shift, float* norms) {
  float points[kE8Size][kSigns];
  for (int64_t d = 0; d < kE8Size; ++d) {
    const float magnitude = constants().magnitudes[d][pattern];
    const float* signs = constants().signs[is_odd(pattern)][d];
    for (int64_t n = 0; n < kSigns; ++n) points[d][n] = magnitude * signs[n] + shift;
  }
  std::fill_n(norms, kSigns, 0.0f);
  for (int64_t a = 0; a < kE8Size; ++a) {
    float product[kSigns];
    for (int64_t n = 0; n < kSigns; ++n) product[n] = sub_hessian[a * kE8Size + a] * points[a][n];
    for (int64_t b = a + 1; b < kE8Size; ++b) {
      const float twice = 2 * sub_hessian[a * kE8Size + b];
      for (int64_t n = 0; n < kSigns; ++n) product[n] += twice * points[b][n];
    }
    for (int64_t n = 0; n < kSigns; ++n) norms[n] += product[n] * points[a][n];
  }
}

}  // namespace

void E8pNearest::prepare(const float* sub_hessian) {
  // In units in which B's diagonal is one; an input that costs nothing is alone there.
  const auto b =
      torch::from_blob(const_cast<float*>(sub_hessian), {kE8Size, kE8Size}).to(torch::kDouble);
  const auto own = b.diagonal();
  const auto unit = torch::where(own > 0, own, torch::ones_like(own)).rsqrt();
  const auto scaled = b * unit.unsqueeze(1) * unit + torch::diag((own <= 0).to(torch::kDouble));
  const auto [values, vectors] = torch::linalg_eigh(scaled);
  constexpr double kRounding = 1e-6;
  const double least = std::max(0.0, values[0].item<double>() - kRounding);
  const auto inverse =
      torch::matmul(vectors / values.clamp_min(kRounding), vectors.t()) * unit.unsqueeze(1) * unit;
  const auto diagonal = least * own;
  const auto store = [](const torch::Tensor& from, auto& to) {
    const auto values = from.to(torch::kFloat).contiguous();
    std::copy_n(values.const_data_ptr<float>(), to.size(), to.begin());
  };
  store(diagonal, diagonal_);
  store(b - torch::diag(diagonal), rest_);
  store(inverse, inverse_);

  pattern_norms_.assign(kPatterns, 0.0f);
  norms_.resize(static_cast<size_t>(2 * kSigns * kPatterns));
  for (int64_t k = 0; k < kPatterns; ++k) {
    for (int64_t d = 0; d < kE8Size; ++d) {
      const float q = constants().magnitudes[d][k];
      pattern_norms_[k] += diagonal_[d] * q * q;
    }
    for (int64_t shift = 0; shift < 2; ++shift) {
      norms_of_signs(sub_hessian, k, kShifts[shift], norms_.data() + (2 * k + shift) * kSigns);
    }
  }
}

struct E8pNearest::Bounds {
  alignas(64) float of[2 * kPatterns];  // of each shift and pattern
};

// With p = q + c, D as the diagonal and the slopes m_i = linear_i - c D_i the bound is
// q^T D q - 2 sum_i q_i m_i and what belongs to c alone; turning the sign of q_i from that of m_i
// costs 4 |q_i m_i|.
void E8pNearest::bound_patterns(const float* linear, Bounds& bounds) const {
  Vector z, product, slope;
  multiply(inverse_, linear, z.data());
  multiply(rest_, z.data(), product.data());
  const float fixed = -dot(z.data(), product.data());
  for (int64_t shift = 0; shift < 2; ++shift) {
    const float c = kShifts[shift];
    float own = fixed;
    int minuses = 0;
    for (int64_t d = 0; d < kE8Size; ++d) {
      const float rest = linear[d] - product[d];
      own += c * (c * diagonal_[d] - 2 * rest);
      slope[d] = rest - c * diagonal_[d];
      minuses += slope[d] < 0;
      slope[d] = std::abs(slope[d]);
    }
    float gain[kPatterns] = {}, turn[kPatterns];
    std::fill_n(turn, kPatterns, HUGE_VALF);
    for (int64_t d = 0; d < kE8Size; ++d) {
      const float* magnitudes = constants().magnitudes[d];
      const float own_slope = slope[d];
      for (int64_t k = 0; k < kPatterns; ++k) {
        const float term = own_slope * magnitudes[k];
        gain[k] += term;
        turn[k] = term < turn[k] ? term : turn[k];
      }
    }
    float* of = bounds.of + shift * kPatterns;
    for (int64_t k = 0; k < kPatterns; ++k) of[k] = own + pattern_norms_[k] - 2 * gain[k];
    const int64_t wrong = minuses % 2 == 0 ? kPatterns / 2 : 0;  // the half with another parity
    for (int64_t k = wrong; k < wrong + kPatterns / 2; ++k) of[k] += 4 * turn[k];
  }
}

E8pNearest::Found E8pNearest::best_signs(const SearchKernels& kernels, int64_t pattern,
                                         int64_t shift, const float* linear,
                                         int32_t without) const {
  Vector signed_linear;
  for (int64_t d = 0; d < kE8Size; ++d) {
    signed_linear[d] = linear[d] * constants().magnitudes[d][pattern];
  }
  const int64_t first = (2 * pattern + shift) * kSigns;
  int32_t best;
  kernels.nearest(norms_.data() + first, constants().signs[is_odd(pattern)][0],
                  signed_linear.data(), 1, kE8Size, kSigns, &best);
  const int32_t code = code_of(first + best);
  if (code != without) return {code, cost(code, linear)};
  Found second{kNone, HUGE_VALF};
  for (int64_t place = first; place < first + kSigns; ++place) {
    const int32_t other = code_of(place);
    const float own = other == without ? HUGE_VALF : cost(other, linear);
    if (own < second.cost) second = {other, own};
  }
  return second;
}

float E8pNearest::cost(int32_t code, const float* linear) const {
  return norms_[place_of(code)] - 2 * dot(linear, e8p_points().data() + code * kE8Size);
}

E8pNearest::Found E8pNearest::find(const SearchKernels& kernels, const float* linear,
                                   int32_t without) const {
  Bounds bounds;
  bound_patterns(linear, bounds);
  const float* all = bounds.of;
  const int64_t first = std::min_element(all, all + 2 * kPatterns) - all;
  Found best = best_signs(kernels, first % kPatterns, first / kPatterns, linear, without);
  for (int64_t i = 0; i < 2 * kPatterns; ++i) {
    if (i == first || !(all[i] < best.cost)) continue;
    const Found found = best_signs(kernels, i % kPatterns, i / kPatterns, linear, without);
    if (found.cost < best.cost) best = found;
  }
  return best;
}

}  // namespace bitsmith
