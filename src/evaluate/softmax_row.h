// One position's comparison of two distributions over the vocabulary, from their logits.
#pragma once
#include <cstdint>
#include <span>

namespace bitsmith {

// e^x for -87 <= x <= 88, below that e^-87 (1.6e-38); relative error under 2e-7. Written so that
// compilers vectorize loops over it; NaN stays NaN.
inline float fast_exp(float x) {
  // 2^n e^r with n = round(x / ln 2): Cody and Waite's two-part ln 2, then a polynomial on
  // |r| <= 0.35 (Cephes' expf coefficients).
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  // The clamp is made of integers (negative floats grow downwards as such; NaN lies beyond infinity
  // and passes), because GCC turns a conditional into a branch and then vectorizes nothing.
  constexpr int32_t kLowest = static_cast<int32_t>(0xc2ae0000u);    // -87
  constexpr int32_t kInfinite = static_cast<int32_t>(0xff800000u);  // minus infinity
  const int32_t bits = __builtin_bit_cast(int32_t, x);
  const int32_t below = -static_cast<int32_t>((bits > kLowest) & (bits <= kInfinite));  // all ones
  x = __builtin_bit_cast(float, (bits & ~below) | (kLowest & below));
  const float shifted = x * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = x - n * 0.693359375f - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const uint32_t scale = (__builtin_bit_cast(uint32_t, shifted) + 127u) << 23;  // bits of 2^n
  return p * __builtin_bit_cast(float, scale);
}

struct LogSumExp {
  float max = 0;
  int64_t argmax = 0;  // the first of equals
  double value = 0;    // log sum exp, natural
};
// Of all logits of a position; NaN or infinite where a logit is.
LogSumExp log_sum_exp(std::span<const float> logits);

struct RowComparison {
  LogSumExp teacher, student;
  double kl = 0;  // KL(teacher || student) in nats, >= 0
};
RowComparison compare_rows(std::span<const float> teacher, std::span<const float> student);

}  // namespace bitsmith
