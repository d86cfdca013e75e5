#include "kernels/simd_avx512.h"
#include "kernels/uniform_gemv_impl.h"

namespace bitsmith {
namespace {

struct Avx512 : Simd {
  static constexpr int64_t kRows = kLanes;

  static __m512i load_field(const uint8_t* p) { return _mm512_load_si512(p); }
  static __m512i load_bytes(const uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }

  // kCount bits of each byte, from bit kFirst on.
  template <int kFirst, int kCount>
  static __m512i take_bits(__m512i bytes) {
    constexpr char kMask = (1 << kCount) - 1;
    return _mm512_and_si512(_mm512_srli_epi16(bytes, kFirst), _mm512_set1_epi8(kMask));
  }
  static __m512i low_bytes(__m512i a) { return _mm512_and_si512(a, _mm512_set1_epi32(255)); }
  static __m512i subtract_bytes(__m512i a, __m512i b) { return _mm512_sub_epi8(a, b); }
  static __m512i next_bytes(__m512i a) { return _mm512_srli_epi32(a, 8); }

  template <int B>
  static constexpr int32_t kOffset = 0;  // dot() takes codes as they are

  // Codes of vectors V .. V + N - 1 times their inputs, added to sums.
  template <int B, int V, int N>
  static __m512i dot(const uint8_t* unit, const int8_t* x, __m512i sums = _mm512_setzero_si512()) {
    if constexpr (N == 0) {
      return sums;
    } else {
      const __m512i inputs =
          _mm512_broadcastd_epi32(_mm_loadu_si32(x + 4 * V));  // four inputs for every row
      sums = _mm512_dpbusd_epi32(sums, load_codes<Avx512, B, V>(unit), inputs);
      return dot<B, V + 1, N - 1>(unit, x, sums);
    }
  }
};

void quantize(const float* x, int64_t in_features, int chunk, const QuantizedInput& out) {
  for (int64_t first = 0, unit = 0; first < in_features; first += kUniformUnit, ++unit) {
    const int64_t left = in_features - first;
    const int64_t lower = left < 16 ? left : 16, upper = left < 16 ? 0 : left < 32 ? left - 16 : 16;
    const __m512 a = Simd::load_first(x + first, lower);
    const __m512 b = Simd::load_first(x + first + 16, upper);
    const float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
    out.scales[unit] = largest / 127;
    const __m512 inverse = _mm512_set1_ps(largest > 0 ? 127 / largest : 0);
    const __m128i low = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(a, inverse)));
    const __m128i high = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(b, inverse)));
    const __m256i codes = _mm256_set_m128i(high, low);
    _mm256_store_si256(reinterpret_cast<__m256i*>(out.codes + first), codes);

    alignas(32) int32_t fours[8];  // sums of four codes
    _mm256_store_si256(reinterpret_cast<__m256i*>(fours),
                       _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), codes));
    store_chunk_sums(fours, chunk, first, out.sums);
  }
}

}  // namespace

void fill_avx512(UniformGemvKernels& kernels) {
  using Kernel = UniformKernel<Avx512>;
  kernels = {quantize, Kernel::gemv, Kernel::decode_bundle, Kernel::decode_int8};
}

}  // namespace bitsmith
