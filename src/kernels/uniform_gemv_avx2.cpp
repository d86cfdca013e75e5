#include "kernels/uniform_gemv_avx2_impl.h"

namespace bitsmith {
namespace {

struct Avx2 : Avx2Codes {
  // What dot() takes codes less by: vpmaddubsw adds two products in 16 bits (255 * 127 * 2 is too
  // much, 128 * 127 * 2 is not).
  template <int B>
  static constexpr int32_t kOffset = B == 8 ? 128 : 0;

  // Codes, less kOffset, of vectors V .. V + N - 1 times their inputs.
  template <int B, int V, int N>
  static __m256i dot(const uint8_t* unit, const int8_t* x) {
    const __m256i sums = dot_vectors<B, V, N>(unit, x, _mm256_setzero_si256());
    return B <= 4 ? add_pairs(sums) : sums;
  }

 private:
  static __m256i add_pairs(__m256i a) { return _mm256_madd_epi16(a, _mm256_set1_epi16(1)); }

  // Sums of two products of codes and inputs, in 16-bit lanes.
  template <int B, int V>
  static __m256i multiply_pairs(const uint8_t* unit, const int8_t* x) {
    const __m256i inputs = four_inputs<V>(x), codes = load_codes<Avx2, B, V>(unit);
    if constexpr (B == 8) {
      const __m256i levels = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));  // code - 128
      return _mm256_maddubs_epi16(_mm256_abs_epi8(levels), _mm256_sign_epi8(inputs, levels));
    } else {
      return _mm256_maddubs_epi16(codes, inputs);
    }
  }

  // Codes of up to 4 bits stay within 16 bits over a whole unit: 8 * 15 * 127 * 2 = 30480.
  template <int B, int V, int N>
  static __m256i dot_vectors(const uint8_t* unit, const int8_t* x, __m256i sums) {
    if constexpr (N == 0) {
      return sums;
    } else {
      const __m256i pairs = multiply_pairs<B, V>(unit, x);
      sums = B <= 4 ? _mm256_add_epi16(sums, pairs) : _mm256_add_epi32(sums, add_pairs(pairs));
      return dot_vectors<B, V + 1, N - 1>(unit, x, sums);
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
    __m256 v[4], magnitude = _mm256_setzero_ps();
    for (int k = 0; k < 4; ++k) {
      v[k] = _mm256_loadu_ps(inputs + 8 * k);
      magnitude = Simd::max(magnitude, Simd::abs(v[k]));
    }
    const float largest = Simd::max_lane(magnitude);
    out.scales[unit] = largest / 127;
    const __m256 inverse = _mm256_set1_ps(largest > 0 ? 127 / largest : 0);
    __m256i words[4];
    for (int k = 0; k < 4; ++k) words[k] = _mm256_cvtps_epi32(_mm256_mul_ps(v[k], inverse));
    // Packing interleaves the registers' halves; the permutation puts fours of codes in order.
    const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(words[0], words[1]),
                                              _mm256_packs_epi32(words[2], words[3]));
    const __m256i codes =
        _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_store_si256(reinterpret_cast<__m256i*>(out.codes + first), codes);

    alignas(32) int32_t fours[8];  // sums of four codes
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), codes);
    _mm256_store_si256(reinterpret_cast<__m256i*>(fours),
                       _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    store_chunk_sums(fours, chunk, first, out.sums);
  }
}

}  // namespace

void fill_avx2(UniformGemvKernels& kernels) {
  using Kernel = UniformKernel<Avx2>;
  kernels = {quantize, Kernel::gemv, Kernel::decode_bundle, Kernel::decode_int8};
}

}  // namespace bitsmith
