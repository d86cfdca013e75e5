// Registers of four floats in the compiler's vector extensions, which any processor can do; see
// simd_avx2.h. Included by *_scalar.cpp only.
#pragma once
#include <cstddef>
#include <cstdint>

namespace bitsmith {
namespace {

struct Simd {
  static constexpr int kLanes = 4;
  static constexpr int kRegisters = 16;
  typedef float Floats __attribute__((vector_size(16)));
  typedef int32_t Words __attribute__((vector_size(16)));
  using Mask = Words;  // a lane's bits are all ones or all zeros

  static Floats zeros() { return Floats{}; }
  static Floats broadcast(float x) { return Floats{x, x, x, x}; }
  static Words broadcast(int32_t x) { return Words{x, x, x, x}; }
  static Words lane_index() { return Words{0, 1, 2, 3}; }
  static Mask first_lanes(int64_t count) {
    return lane_index() < broadcast(static_cast<int32_t>(count));
  }

  static Floats load(const float* p) {
    Floats v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
  }
  static Floats load_first(const float* p, int64_t count) {
    Floats v{};
    __builtin_memcpy(&v, p, sizeof(float) * static_cast<size_t>(count));
    return v;
  }
  static Floats load_bf16(const uint16_t* p) {
    return from_bits(Words{p[0], p[1], p[2], p[3]} << 16);
  }
  static Floats load_bf16_first(const uint16_t* p, int64_t count) {
    uint16_t padded[kLanes] = {};
    __builtin_memcpy(padded, p, sizeof(uint16_t) * static_cast<size_t>(count));
    return load_bf16(padded);
  }
  // Exponent and mantissa moved to a float's places read as value * 2^-112: exact for normal and
  // subnormal numbers; not for infinities.
  static Floats load_fp16(const uint16_t* p) {
    const Words half = {p[0], p[1], p[2], p[3]};
    const Floats magnitude = from_bits((half & 0x7fff) << 13) * broadcast(0x1p112f);
    return from_bits(bits(magnitude) | ((half & 0x8000) << 16));
  }
  static Floats load_int8(const int8_t* p) {
    return Floats{static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2]),
                  static_cast<float>(p[3])};
  }
  static void store(float* p, Floats v) { __builtin_memcpy(p, &v, sizeof(v)); }
  static void store(int32_t* p, Words v) { __builtin_memcpy(p, &v, sizeof(v)); }
  static void store_first(float* p, Floats v, int64_t count) {
    __builtin_memcpy(p, &v, sizeof(float) * static_cast<size_t>(count));
  }
  static void store_halves(uint16_t* p, Words v) {
    for (int i = 0; i < kLanes; ++i) p[i] = static_cast<uint16_t>(v[i]);
  }

  static Floats multiply_add(Floats a, Floats b, Floats c) { return a * b + c; }
  static Floats min(Floats a, Floats b) { return a < b ? a : b; }
  static Floats max(Floats a, Floats b) { return a > b ? a : b; }
  static Floats abs(Floats a) { return from_bits(bits(a) & 0x7fffffff); }
  static Mask less(Floats a, Floats b) { return a < b; }
  static Mask less(Words a, Words b) { return a < b; }
  static Mask is_nan(Floats a) { return a != a; }
  static Floats select(Mask where, Floats a, Floats b) { return where ? a : b; }
  static Floats select_negative(Floats x, Floats a, Floats b) { return bits(x) < 0 ? a : b; }
  static Words select(Mask where, Words a, Words b) { return where ? a : b; }
  static Floats keep(Floats a, Mask inside) { return from_bits(bits(a) & inside); }
  static Words keep(Words a, Mask inside) { return a & inside; }
  static Floats drop(Floats a, Mask where) { return from_bits(bits(a) & ~where); }
  static Words drop(Words a, Mask where) { return a & ~where; }

  static Words bits(Floats a) { return reinterpret_cast<Words>(a); }
  static Floats from_bits(Words a) { return reinterpret_cast<Floats>(a); }
  static Floats to_floats(Words a) { return __builtin_convertvector(a, Floats); }
  static Words add(Words a, Words b) { return a + b; }
  static Words either(Words a, Words b) { return a | b; }
  static Words both(Words a, Words b) { return a & b; }
  template <int kBits>
  static Words shift_left(Words a) {
    return a << kBits;
  }
  template <int kBits>  // unsigned
  static Words shift_right(Words a) {
    typedef uint32_t Unsigned __attribute__((vector_size(16)));
    return reinterpret_cast<Words>(reinterpret_cast<Unsigned>(a) >> kBits);
  }

  static float sum_lanes(Floats v) { return (v[0] + v[2]) + (v[1] + v[3]); }
  static float max_lane(Floats v) {
    const float a = v[0] > v[2] ? v[0] : v[2], b = v[1] > v[3] ? v[1] : v[3];
    return a > b ? a : b;
  }
  static float min_lane(Floats v) {
    const float a = v[0] < v[2] ? v[0] : v[2], b = v[1] < v[3] ? v[1] : v[3];
    return a < b ? a : b;
  }
};

}  // namespace
}  // namespace bitsmith
