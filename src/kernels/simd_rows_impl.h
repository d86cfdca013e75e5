// Loops over rows of float32 or bfloat16 numbers. I: the registers of an instruction set, Simd of
// simd_*.h. Included by *_impl.h.
#pragma once
#include <cstddef>
#include <cstdint>

namespace bitsmith {
namespace {

// What a loop's body is given: a whole register's values, or the last few.
struct Whole {};
struct First {
  int64_t count;
};

// body(i, Whole or First) for every register of the n values.
template <typename I, typename Body>
inline __attribute__((always_inline)) void for_each_register(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + I::kLanes <= n; i += I::kLanes) body(i, Whole{});
  if (i < n) body(i, First{n - i});
}

template <typename I>
struct Float32Row {
  using Value = float;
  using Floats = typename I::Floats;

  static Floats load(const float* p, Whole = {}) { return I::load(p); }
  static Floats load(const float* p, First first) { return I::load_first(p, first.count); }
  static void store(float* p, Floats v, Whole) { I::store(p, v); }
  static void store(float* p, Floats v, First first) { I::store_first(p, v, first.count); }
  static Floats rounded(Floats v) { return v; }
};

template <typename I>
struct BFloat16Row {
  using Value = uint16_t;
  using Floats = typename I::Floats;

  static Floats load(const uint16_t* p, Whole = {}) { return I::load_bf16(p); }
  static Floats load(const uint16_t* p, First first) { return I::load_bf16_first(p, first.count); }
  static void store(uint16_t* p, Floats v, Whole) { I::store_halves(p, round(v)); }
  static void store(uint16_t* p, Floats v, First first) {
    uint16_t all[I::kLanes];
    store(all, v, Whole{});
    __builtin_memcpy(p, all, sizeof(uint16_t) * static_cast<size_t>(first.count));
  }
  static Floats rounded(Floats v) {
    return I::from_bits(I::both(round_high(v), I::broadcast(int32_t{-0x10000})));
  }

 private:
  static typename I::Words round(Floats v) { return I::template shift_right<16>(round_high(v)); }
  // The bfloat16 bits of v in the high halves, to nearest even; the low halves are no matter. A NaN
  // that arithmetic makes of bfloat16 numbers has zeros in its low half, so it stays one.
  static typename I::Words round_high(Floats v) {
    const auto bits = I::bits(v);
    const auto odd = I::both(I::template shift_right<16>(bits), I::broadcast(1));
    return I::add(bits, I::add(odd, I::broadcast(0x7fff)));
  }
};

// Zeros beyond the values of a register that was not loaded whole.
template <typename I>
typename I::Floats inside(typename I::Floats v, Whole) {
  return v;
}
template <typename I>
typename I::Floats inside(typename I::Floats v, First first) {
  return I::keep(v, I::first_lanes(first.count));
}

// body(i, k, Whole or First) for every register of the n values, k = i / kLanes % kParts: a sum in
// 16 parts, whatever the width of the registers, has the same bits at every level.
template <typename I>
constexpr int kParts = 16 / I::kLanes;

template <typename I, typename Body>
inline __attribute__((always_inline)) void for_each_part(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int k = 0; k < kParts<I>; ++k) body(i + k * I::kLanes, k, Whole{});
  }
  for (int k = 0; k < kParts<I> && i < n; ++k, i += I::kLanes) {
    body(i, k, First{n - i < I::kLanes ? n - i : I::kLanes});
  }
}

template <typename I>
struct SixteenSums {
  typename I::Floats part[kParts<I>] = {};

  float total() const {
    float values[16];
    for (int k = 0; k < kParts<I>; ++k) I::store(values + k * I::kLanes, part[k]);
    float sum = 0;
    for (const float value : values) sum += value;
    return sum;
  }
};

}  // namespace
}  // namespace bitsmith
