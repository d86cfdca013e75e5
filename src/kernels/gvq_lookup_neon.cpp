#include <type_traits>

#include "kernels/gvq_decode_impl.h"
#include "kernels/gvq_lookup_impl.h"
#include "kernels/simd_neon.h"

namespace bitsmith {
namespace {

inline int32x4_t load_words(const uint8_t* p) { return vreinterpretq_s32_u8(vld1q_u8(p)); }

inline uint8x16_t shift_right(uint8x16_t bytes, int bits) {
  return vshlq_u8(bytes, vdupq_n_s8(static_cast<int8_t>(-bits)));
}

// A quarter of a packet: positions 16 part .. 16 part + 15.
inline uint8x16_t load_pairs_of_bits(const uint8_t* p, int part) {
  return vandq_u8(shift_right(vld1q_u8(p), 2 * part), vdupq_n_u8(3));
}

inline uint8x16_t load_nibbles(const uint8_t* p, int part) {
  return vandq_u8(shift_right(vld1q_u8(p + part % 2 * 16), part / 2 * 4), vdupq_n_u8(15));
}

// One coordinate of the centroids: 16, or parts of 64.
template <int kBits>
struct SignedTable {
  static constexpr int kParts = kBits == 8 ? 4 : 1;
  using Part = std::conditional_t<kBits <= 4, int8x16_t, int8x16x4_t>;

  explicit SignedTable(const int8_t* values, int = 0) {  // never biased
    if constexpr (kBits <= 4) {
      part[0] = vld1q_s8(values);
    } else {
      for (int i = 0; i < kParts; ++i) part[i] = vld1q_s8_x4(values + 64 * i);
    }
  }
  int32x4_t operator[](int32x4_t words) const {
    const uint8x16_t codes = vreinterpretq_u8_s32(words);
    if constexpr (kBits <= 4) {
      return vreinterpretq_s32_s8(vqtbl1q_s8(part[0], codes));
    } else {
      // A code beyond a part leaves the byte as it is.
      int8x16_t values = vqtbl4q_s8(part[0], codes);
      for (int i = 1; i < kParts; ++i) {
        const uint8x16_t within = vsubq_u8(codes, vdupq_n_u8(static_cast<uint8_t>(64 * i)));
        values = vqtbx4q_s8(values, part[i], within);
      }
      return vreinterpretq_s32_s8(values);
    }
  }
  void replace(uint32x4_t mask, const SignedTable& other) {
    part[0] = vbslq_s8(vreinterpretq_u8_u32(mask), other.part[0], part[0]);
  }
  Part part[kParts];
};

struct Neon : Simd {
  static constexpr int kParts = 4;  // registers of a packet
  static constexpr int kRows = 1;   // at a time
  template <int kBits>
  using Table = SignedTable<kBits>;

  template <int kBits>
  static int32x4_t load_codes(const uint8_t* p, int part) {
    if constexpr (kBits == 2) return vreinterpretq_s32_u8(load_pairs_of_bits(p, part));
    if constexpr (kBits == 4) return vreinterpretq_s32_u8(load_nibbles(p, part));
    if constexpr (kBits == 6) {
      const uint8x16_t high = vshlq_n_u8(load_pairs_of_bits(p, part), 4);
      return vreinterpretq_s32_u8(vorrq_u8(high, load_nibbles(p + 16, part)));
    }
    if constexpr (kBits == 8) return load_words(p + part * 16);
  }
  static int32x4_t start(const int32_t*) { return vdupq_n_s32(0); }
  static int32x4_t add_products(int32x4_t dot, int32x4_t values, const int8_t* inputs) {
    return vdotq_s32(dot, vreinterpretq_s8_s32(values), vld1q_s8(inputs));
  }
  // Of each byte the two bits of `high` from bit kHigh on above the four of `low` from kLow on.
  template <int kHigh, int kLow>
  static int32x4_t six_bits(int32x4_t high, int32x4_t low) {
    return either(shift_left<4>(take_bits<kHigh, 2>(high)), take_bits<kLow, 4>(low));
  }
  struct Scales {
    explicit Scales(const float* p) : values(p) {}
    float32x4_t look_up(int32_t packed, const int32_t* shifts) const {
      const uint32x4_t all = vdupq_n_u32(static_cast<uint32_t>(packed));
      const uint32x4_t at = vshlq_u32(all, vnegq_s32(vld1q_s32(shifts)));
      return values[vreinterpretq_s32_u32(vandq_u32(at, vdupq_n_u32(15)))];
    }
    SixteenFloats values;
  };
};

void multiply(const GvqLookupTiles& tiles, int64_t rows, const GvqLookupInput& x, float* sums) {
  switch (tiles.code_bits) {
    case 2:
      return multiply_bits<Neon, 2>(tiles, rows, x, sums);
    case 4:
      return multiply_bits<Neon, 4>(tiles, rows, x, sums);
    case 6:
      return multiply_bits<Neon, 6>(tiles, rows, x, sums);
    default:
      return multiply_bits<Neon, 8>(tiles, rows, x, sums);
  }
}

void decode(const GvqStripRows* strips, int64_t count, int64_t places, int8_t* codes) {
  switch (strips->tiles.code_bits) {
    case 2:
      return decode_bits<Neon, 2>(strips, count, places, codes);
    case 4:
      return decode_bits<Neon, 4>(strips, count, places, codes);
    case 6:
      return decode_bits<Neon, 6>(strips, count, places, codes);
    default:
      return decode_bits<Neon, 8>(strips, count, places, codes);
  }
}

}  // namespace

void fill_neon(GvqLookupKernels& kernels) { kernels = {8, multiply, decode, decode_scales<Neon>}; }

}  // namespace bitsmith
