// Two registers of I as one of twice the lanes: long chains of dependent operations, such as exp
// and a rounding, run side by side. For element-wise loops; has the members of Simd that those need
// (simd_avx2.h). Included by *_impl.h.
#pragma once
#include <cstdint>

namespace bitsmith {
namespace {

template <typename I>
struct SimdPair {
  static constexpr int kHalf = I::kLanes, kLanes = 2 * kHalf;
  struct Floats {
    typename I::Floats low, high;

    friend Floats operator+(Floats a, Floats b) { return {a.low + b.low, a.high + b.high}; }
    friend Floats operator-(Floats a, Floats b) { return {a.low - b.low, a.high - b.high}; }
    friend Floats operator*(Floats a, Floats b) { return {a.low * b.low, a.high * b.high}; }
    friend Floats operator/(Floats a, Floats b) { return {a.low / b.low, a.high / b.high}; }
  };
  struct Words {
    typename I::Words low, high;
  };
  struct Mask {
    typename I::Mask low, high;
  };

  static Floats zeros() { return {I::zeros(), I::zeros()}; }
  static Floats broadcast(float x) { return {I::broadcast(x), I::broadcast(x)}; }
  static Words broadcast(int32_t x) { return {I::broadcast(x), I::broadcast(x)}; }

  static Floats load(const float* p) { return {I::load(p), I::load(p + kHalf)}; }
  static Floats load_first(const float* p, int64_t count) {
    if (count <= kHalf) return {I::load_first(p, count), I::zeros()};
    return {I::load(p), I::load_first(p + kHalf, count - kHalf)};
  }
  static Floats load_bf16(const uint16_t* p) { return {I::load_bf16(p), I::load_bf16(p + kHalf)}; }
  static Floats load_bf16_first(const uint16_t* p, int64_t count) {
    if (count <= kHalf) return {I::load_bf16_first(p, count), I::zeros()};
    return {I::load_bf16(p), I::load_bf16_first(p + kHalf, count - kHalf)};
  }
  static void store(float* p, Floats v) {
    I::store(p, v.low);
    I::store(p + kHalf, v.high);
  }
  static void store_first(float* p, Floats v, int64_t count) {
    if (count <= kHalf) return I::store_first(p, v.low, count);
    I::store(p, v.low);
    I::store_first(p + kHalf, v.high, count - kHalf);
  }
  static void store_halves(uint16_t* p, Words v) {
    I::store_halves(p, v.low);
    I::store_halves(p + kHalf, v.high);
  }

  static Floats max(Floats a, Floats b) { return {I::max(a.low, b.low), I::max(a.high, b.high)}; }
  static Floats abs(Floats a) { return {I::abs(a.low), I::abs(a.high)}; }
  static Mask less(Floats a, Floats b) { return {I::less(a.low, b.low), I::less(a.high, b.high)}; }
  static Mask is_nan(Floats a) { return {I::is_nan(a.low), I::is_nan(a.high)}; }
  static Floats select(Mask where, Floats a, Floats b) {
    return {I::select(where.low, a.low, b.low), I::select(where.high, a.high, b.high)};
  }
  static Floats select_negative(Floats x, Floats a, Floats b) {
    return {I::select_negative(x.low, a.low, b.low), I::select_negative(x.high, a.high, b.high)};
  }
  static Floats drop(Floats a, Mask where) {
    return {I::drop(a.low, where.low), I::drop(a.high, where.high)};
  }
  static Words drop(Words a, Mask where) {
    return {I::drop(a.low, where.low), I::drop(a.high, where.high)};
  }
  static Words bits(Floats a) { return {I::bits(a.low), I::bits(a.high)}; }
  static Floats from_bits(Words a) { return {I::from_bits(a.low), I::from_bits(a.high)}; }
  static Words add(Words a, Words b) { return {I::add(a.low, b.low), I::add(a.high, b.high)}; }
  static Words either(Words a, Words b) {
    return {I::either(a.low, b.low), I::either(a.high, b.high)};
  }
  static Words both(Words a, Words b) { return {I::both(a.low, b.low), I::both(a.high, b.high)}; }
  template <int kBits>
  static Words shift_left(Words a) {
    return {I::template shift_left<kBits>(a.low), I::template shift_left<kBits>(a.high)};
  }
  template <int kBits>
  static Words shift_right(Words a) {
    return {I::template shift_right<kBits>(a.low), I::template shift_right<kBits>(a.high)};
  }
};

}  // namespace
}  // namespace bitsmith
