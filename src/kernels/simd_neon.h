// The registers of NEON; see simd_avx2.h. Included by *_neon.cpp only.
#pragma once
#include <arm_neon.h>

#include <cstdint>

namespace bitsmith {
namespace {

struct Simd {
  static constexpr int kLanes = 4;
  static constexpr int kRegisters = 32;
  using Floats = float32x4_t;
  using Words = int32x4_t;
  using Mask = uint32x4_t;  // a lane's bits are all ones or all zeros

  static Floats zeros() { return vdupq_n_f32(0); }
  static Floats broadcast(float x) { return vdupq_n_f32(x); }
  static Words broadcast(int32_t x) { return vdupq_n_s32(x); }
  static Words lane_index() { return Words{0, 1, 2, 3}; }
  static Mask first_lanes(int64_t count) {
    return vcltq_s32(lane_index(), vdupq_n_s32(static_cast<int32_t>(count)));
  }

  static Floats load(const float* p) { return vld1q_f32(p); }
  static Floats load_first(const float* p, int64_t count) {
    return Floats{count > 0 ? p[0] : 0, count > 1 ? p[1] : 0, count > 2 ? p[2] : 0,
                  count > 3 ? p[3] : 0};
  }
  static Floats load_bf16(const uint16_t* p) {
    return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(vld1_u16(p)), 16));
  }
  static Floats load_bf16_first(const uint16_t* p, int64_t count) {
    const auto bits = [&](int i) { return count > i ? p[i] << 16 : 0; };
    return from_bits(Words{bits(0), bits(1), bits(2), bits(3)});
  }
  static Floats load_fp16(const uint16_t* p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
  }
  static Floats load_int8(const int8_t* p) {
    uint32_t four;
    __builtin_memcpy(&four, p, sizeof(four));
    const int16x8_t halves = vmovl_s8(vcreate_s8(four));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(halves)));
  }
  // Four bytes without a sign.
  static Words load_bytes(const uint8_t* p) {
    uint32_t four;
    __builtin_memcpy(&four, p, sizeof(four));
    const uint16x8_t halves = vmovl_u8(vcreate_u8(four));
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(halves)));
  }
  static void store(float* p, Floats v) { vst1q_f32(p, v); }
  static void store(int32_t* p, Words v) { vst1q_s32(p, v); }
  static void store_first(float* p, Floats v, int64_t count) {
    if (count > 0) p[0] = v[0];
    if (count > 1) p[1] = v[1];
    if (count > 2) p[2] = v[2];
    if (count > 3) p[3] = v[3];
  }
  static void store_halves(uint16_t* p, Words v) {
    vst1_u16(p, vmovn_u32(vreinterpretq_u32_s32(v)));
  }

  static Floats multiply_add(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
  // Not the processor's own minimum and maximum, which treat NaN in another way.
  static Floats min(Floats a, Floats b) { return select(less(a, b), a, b); }
  static Floats max(Floats a, Floats b) { return select(less(b, a), a, b); }
  static Floats abs(Floats a) { return vabsq_f32(a); }
  static Mask less(Floats a, Floats b) { return vcltq_f32(a, b); }
  static Mask less(Words a, Words b) { return vcltq_s32(a, b); }
  static Mask is_nan(Floats a) { return vmvnq_u32(vceqq_f32(a, a)); }
  static Floats select(Mask where, Floats a, Floats b) { return vbslq_f32(where, a, b); }
  static Floats select_negative(Floats x, Floats a, Floats b) {
    return select(vcltzq_s32(bits(x)), a, b);
  }
  static Words select(Mask where, Words a, Words b) { return vbslq_s32(where, a, b); }
  static Floats keep(Floats a, Mask inside) { return from_bits(keep(bits(a), inside)); }
  static Words keep(Words a, Mask inside) { return vandq_s32(a, vreinterpretq_s32_u32(inside)); }
  static Floats drop(Floats a, Mask where) { return from_bits(drop(bits(a), where)); }
  static Words drop(Words a, Mask where) { return vbicq_s32(a, vreinterpretq_s32_u32(where)); }

  static Words bits(Floats a) { return vreinterpretq_s32_f32(a); }
  static Floats from_bits(Words a) { return vreinterpretq_f32_s32(a); }
  static Floats to_floats(Words a) { return vcvtq_f32_s32(a); }
  static Words add(Words a, Words b) { return vaddq_s32(a, b); }
  static Words subtract(Words a, Words b) { return vsubq_s32(a, b); }
  static Words multiply(Words a, Words b) { return vmulq_s32(a, b); }
  static Words either(Words a, Words b) { return vorrq_s32(a, b); }
  static Words both(Words a, Words b) { return vandq_s32(a, b); }
  template <int kBits>
  static Words shift_left(Words a) {
    return vshlq_n_s32(a, kBits);
  }
  template <int kBits>  // unsigned
  static Words shift_right(Words a) {
    return vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(a), kBits));
  }
  // kCount bits of each byte, from bit kFirst on.
  template <int kFirst, int kCount>
  static Words take_bits(Words bytes) {
    uint8x16_t from = vreinterpretq_u8_s32(bytes);
    if constexpr (kFirst > 0) from = vshrq_n_u8(from, kFirst);
    return vreinterpretq_s32_u8(vandq_u8(from, vdupq_n_u8((1 << kCount) - 1)));
  }

  // to[stride k + i] = lane k of rows[i]: 4 x 4 numbers of 32 bits, transposed. Moves bits only.
  static void transpose(const Floats rows[kLanes], float* to, int64_t stride) {
    const auto pair = [](Floats a) { return vreinterpretq_f64_f32(a); };
    const auto put = [&](int64_t k, float64x2_t v) {
      store(to + k * stride, vreinterpretq_f32_f64(v));
    };
    const float64x2_t even_low = pair(vtrn1q_f32(rows[0], rows[1]));
    const float64x2_t even_high = pair(vtrn1q_f32(rows[2], rows[3]));
    const float64x2_t odd_low = pair(vtrn2q_f32(rows[0], rows[1]));
    const float64x2_t odd_high = pair(vtrn2q_f32(rows[2], rows[3]));
    put(0, vtrn1q_f64(even_low, even_high));
    put(1, vtrn1q_f64(odd_low, odd_high));
    put(2, vtrn2q_f64(even_low, even_high));
    put(3, vtrn2q_f64(odd_low, odd_high));
  }

  static float sum_lanes(Floats v) { return vaddvq_f32(v); }
  static float max_lane(Floats v) { return vmaxvq_f32(v); }
  static float min_lane(Floats v) { return vminvq_f32(v); }
};

// 16 values in registers, looked up by codes 0..15.
class SixteenFloats {
 public:
  explicit SixteenFloats(const float* values)
      : bytes_(vld1q_u8_x4(reinterpret_cast<const uint8_t*>(values))) {}
  float32x4_t operator[](int32x4_t codes) const {
    // The places of each value's four bytes.
    const int32x4_t places = vmlaq_s32(vdupq_n_s32(0x03020100), codes, vdupq_n_s32(0x04040404));
    return vreinterpretq_f32_u8(vqtbl4q_u8(bytes_, vreinterpretq_u8_s32(places)));
  }

 private:
  uint8x16x4_t bytes_;
};

}  // namespace
}  // namespace bitsmith
