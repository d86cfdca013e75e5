// exp and what is made of it, over the registers I of an instruction set. No fused multiply-adds:
// the same bits at every level. Included by *_impl.h.
#pragma once
#include <cstdint>

namespace bitsmith {
namespace {

// e^x for x <= 88: relative error below 2e-7; 0 for x < -87; NaN stays NaN. x = n ln 2 + r,
// |r| <= ln 2 / 2, Cody and Waite's two parts of ln 2, then Cephes' polynomial for expf.
template <typename I>
typename I::Floats exp(typename I::Floats x) {
  const auto b = [](float v) { return I::broadcast(v); };
  const auto rounding = b(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const auto shifted = x * b(1.44269504f) + rounding;
  const auto n = shifted - rounding;
  const auto r = x - n * b(0.693359375f) - n * b(-2.12194440e-4f);
  auto p = b(1.9875691500e-4f);
  p = p * r + b(1.3981999507e-3f);
  p = p * r + b(8.3334519073e-3f);
  p = p * r + b(4.1665795894e-2f);
  p = p * r + b(1.6666665459e-1f);
  p = p * r + b(5.0000001201e-1f);
  p = p * r * r + r + b(1.0f);
  // n sits in the low bits of `shifted`; the rounding number's own bits drop out of the shift.
  const auto exponent = I::add(I::bits(shifted), I::broadcast(127));
  const auto scale = I::from_bits(I::template shift_left<23>(exponent));
  return I::drop(p * scale, I::less(x, b(-87.0f)));
}

// The natural logarithm of normal numbers above 0: error below 2e-7 of 1 and of its value. x = 2^e
// m, m in [sqrt(1/2), sqrt(2)), Cephes' polynomial for logf.
template <typename I>
typename I::Floats log(typename I::Floats x) {
  const auto b = [](float v) { return I::broadcast(v); };
  const auto bits = I::bits(x);
  const auto half = I::either(I::both(bits, I::broadcast(0x7fffff)), I::broadcast(0x3f000000));
  const auto m = I::from_bits(half);  // in [1/2, 1)
  const auto small = I::less(m, b(0.707106781f));
  const auto biased = I::to_floats(I::template shift_right<23>(bits));
  const auto e = biased - I::select(small, b(127.0f), b(126.0f));
  const auto r = I::select(small, m + m, m) - b(1.0f), square = r * r;
  auto p = b(7.0376836292e-2f);
  p = p * r + b(-1.1514610310e-1f);
  p = p * r + b(1.1676998740e-1f);
  p = p * r + b(-1.2420140846e-1f);
  p = p * r + b(1.4249322787e-1f);
  p = p * r + b(-1.6668057665e-1f);
  p = p * r + b(2.0000714765e-1f);
  p = p * r + b(-2.4999993993e-1f);
  p = p * r + b(3.3333331174e-1f);
  const auto tail = p * r * square + e * b(-2.12194440e-4f) - square * b(0.5f);
  return r + tail + e * b(0.693359375f);
}

// 1 / (1 + e^-x): relative error below 5e-7 for x >= -87, 0 below.
template <typename I>
typename I::Floats sigmoid(typename I::Floats x) {
  const auto one = I::broadcast(1.0f);
  const auto minus_magnitude = I::from_bits(I::either(I::bits(x), I::broadcast(INT32_MIN)));
  const auto e = exp<I>(minus_magnitude);
  return I::select_negative(x, e, one) / (one + e);
}

// Relative error below 5e-7. Cephes' polynomial for tanhf up to 0.625, beyond from exp.
template <typename I>
typename I::Floats tanh(typename I::Floats x) {
  const auto b = [](float v) { return I::broadcast(v); };
  const auto magnitude = I::abs(x), square = x * x;
  auto p = b(-5.70498872745e-3f);
  p = p * square + b(2.06390887954e-2f);
  p = p * square + b(-5.37397155531e-2f);
  p = p * square + b(1.33314422036e-1f);
  p = p * square + b(-3.33332819422e-1f);
  const auto near = p * square * x + x;
  const auto e = exp<I>(magnitude * b(-2.0f));
  const auto far = (b(1.0f) - e) / (b(1.0f) + e);
  const auto far_signed = I::select_negative(x, I::zeros() - far, far);
  return I::select(I::less(magnitude, b(0.625f)), near, far_signed);
}

// The share of a normal distribution below x, (1 + erf(x / sqrt(2))) / 2: absolute error below
// 3e-7. erfc(z) e^(z^2) is a polynomial in 1 / (1 + 0.45 z), fitted on [0, 9.5] to 3e-7.
template <typename I>
typename I::Floats normal_share(typename I::Floats x) {
  const auto b = [](float v) { return I::broadcast(v); };
  const auto t = b(1.0f) / (b(1.0f) + I::abs(x) * b(0.318198052f));  // 0.45 / sqrt(2)
  auto p = b(0.066318080f);
  p = p * t + b(-0.237882093f);
  p = p * t + b(0.204539761f);
  p = p * t + b(0.044426229f);
  p = p * t + b(0.186369121f);
  p = p * t + b(0.228794500f);
  p = p * t + b(0.253517836f);
  p = p * t + b(0.253916860f);
  const auto beyond = b(0.5f) * (p * t) * exp<I>(x * x * b(-0.5f));  // of |x|
  return I::select_negative(x, beyond, b(1.0f) - beyond);
}

}  // namespace
}  // namespace bitsmith
