#include <cstddef>

#include "kernels/simd_neon.h"
#include "kernels/uniform_gemv_impl.h"

namespace bitsmith {
namespace {

// The 16 rows of a bundle in four registers.
struct Neon {
  static constexpr int64_t kRows = kUniformRows;
  struct Words {
    int32x4_t part[4];
  };
  struct Floats {
    float32x4_t part[4];

    friend Floats operator*(Floats a, Floats b) {
      return floats([&](int i) { return a.part[i] * b.part[i]; });
    }
  };

  // Of part(0) .. part(3).
  template <typename F>
  static Floats floats(const F& part) {
    return {{part(0), part(1), part(2), part(3)}};
  }
  template <typename F>
  static Words words(const F& part) {
    return {{part(0), part(1), part(2), part(3)}};
  }

  static Floats zeros() { return broadcast(0.0f); }
  static Floats broadcast(float x) {
    return floats([&](int) { return Simd::broadcast(x); });
  }
  static Words broadcast(int32_t x) {
    return words([&](int) { return Simd::broadcast(x); });
  }
  static Floats load_fp16(const uint16_t* p) {
    return floats([&](int i) { return Simd::load_fp16(p + 4 * i); });
  }
  static Words load_field(const uint8_t* p) {
    return words([&](int i) { return vreinterpretq_s32_u8(vld1q_u8(p + 16 * i)); });
  }
  static Words load_bytes(const uint8_t* p) {
    return words([&](int i) { return Simd::load_bytes(p + 4 * i); });
  }
  static void store(float* p, Floats v) {
    for (int i = 0; i < 4; ++i) Simd::store(p + 4 * i, v.part[i]);
  }
  static void store(int32_t* p, Words v) {
    for (int i = 0; i < 4; ++i) Simd::store(p + 4 * i, v.part[i]);
  }

  static Floats multiply_add(Floats a, Floats b, Floats c) {
    return floats([&](int i) { return Simd::multiply_add(a.part[i], b.part[i], c.part[i]); });
  }
  static Floats to_floats(Words a) {
    return floats([&](int i) { return Simd::to_floats(a.part[i]); });
  }
  static Words subtract(Words a, Words b) {
    return words([&](int i) { return Simd::subtract(a.part[i], b.part[i]); });
  }
  static Words multiply(Words a, Words b) {
    return words([&](int i) { return Simd::multiply(a.part[i], b.part[i]); });
  }
  static Words either(Words a, Words b) {
    return words([&](int i) { return Simd::either(a.part[i], b.part[i]); });
  }
  template <int kBits>
  static Words shift_left(Words a) {
    return words([&](int i) { return Simd::shift_left<kBits>(a.part[i]); });
  }
  template <int kFirst, int kCount>
  static Words take_bits(Words a) {
    return words([&](int i) { return Simd::take_bits<kFirst, kCount>(a.part[i]); });
  }
  static Words low_bytes(Words a) {
    return words([&](int i) { return Simd::both(a.part[i], Simd::broadcast(255)); });
  }
  static Words next_bytes(Words a) {
    return words([&](int i) { return Simd::shift_right<8>(a.part[i]); });
  }
  static Words subtract_bytes(Words a, Words b) {
    return words(
        [&](int i) { return vreinterpretq_s32_s8(vsubq_s8(bytes(a.part[i]), bytes(b.part[i]))); });
  }

  // What dot() takes codes less by: both factors have a sign.
  template <int B>
  static constexpr int32_t kOffset = B == 8 ? 128 : 0;

  // Codes, less kOffset, of vectors V .. V + N - 1 times their inputs.
  template <int B, int V, int N>
  static Words dot(const uint8_t* unit, const int8_t* x) {
    return dot_vectors<B, V, N>(unit, vld1q_s8(x), vld1q_s8(x + 16), broadcast(0));
  }

 private:
  static int8x16_t bytes(int32x4_t a) { return vreinterpretq_s8_s32(a); }

  // low, high: the unit's 32 inputs.
  template <int B, int V, int N>
  static Words dot_vectors(const uint8_t* unit, int8x16_t low, int8x16_t high, Words sums) {
    if constexpr (N == 0) {
      return sums;
    } else {
      const Words codes = load_codes<Neon, B, V>(unit);
      sums = words([&](int i) {
        int8x16_t levels = bytes(codes.part[i]);
        if constexpr (B == 8) levels = veorq_s8(levels, vdupq_n_s8(-128));  // code - 128
        return vdotq_laneq_s32(sums.part[i], levels, V < 4 ? low : high, V % 4);
      });
      return dot_vectors<B, V + 1, N - 1>(unit, low, high, sums);
    }
  }
};

void quantize(const float* x, int64_t in_features, int chunk, const QuantizedInput& out) {
  for (int64_t first = 0, unit = 0; first < in_features; first += kUniformUnit, ++unit) {
    float padded[kUniformUnit] = {};
    const float* inputs = x + first;
    if (in_features - first < kUniformUnit) {
      __builtin_memcpy(padded, inputs, sizeof(float) * static_cast<size_t>(in_features - first));
      inputs = padded;
    }
    float32x4_t v[8], magnitude = Simd::zeros();
    for (int k = 0; k < 8; ++k) {
      v[k] = Simd::load(inputs + 4 * k);
      magnitude = Simd::max(magnitude, Simd::abs(v[k]));
    }
    const float largest = Simd::max_lane(magnitude);
    out.scales[unit] = largest / 127;
    const float32x4_t inverse = Simd::broadcast(largest > 0 ? 127 / largest : 0.0f);
    int32_t fours[8];  // sums of four codes
    for (int k = 0; k < 8; k += 4) {
      int16x4_t halves[4];
      for (int i = 0; i < 4; ++i) halves[i] = vqmovn_s32(vcvtnq_s32_f32(v[k + i] * inverse));
      const int8x16_t codes = vcombine_s8(vqmovn_s16(vcombine_s16(halves[0], halves[1])),
                                          vqmovn_s16(vcombine_s16(halves[2], halves[3])));
      vst1q_s8(out.codes + first + 4 * k, codes);
      vst1q_s32(fours + k, vdotq_s32(vdupq_n_s32(0), codes, vdupq_n_s8(1)));
    }
    store_chunk_sums(fours, chunk, first, out.sums);
  }
}

}  // namespace

void fill_neon(UniformGemvKernels& kernels) {
  using Kernel = UniformKernel<Neon>;
  kernels = {quantize, Kernel::gemv, Kernel::decode_bundle, Kernel::decode_int8};
}

}  // namespace bitsmith
