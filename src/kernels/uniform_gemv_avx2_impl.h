// What AVX2 has for uniform_gemv_impl.h but dot(), with or without AVX-VNNI; included once by each
// set's file, everything in an unnamed namespace so that no other file's copy is ever linked in its
// place.
#pragma once
#include "kernels/simd_avx2.h"
#include "kernels/uniform_gemv_impl.h"

namespace bitsmith {
namespace {

struct Avx2Codes : Simd {
  static constexpr int64_t kRows = kLanes;

  static __m256i load_field(const uint8_t* p) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  }
  static __m256i load_bytes(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }

  // kCount bits of each byte, from bit kFirst on.
  template <int kFirst, int kCount>
  static __m256i take_bits(__m256i bytes) {
    constexpr char kMask = (1 << kCount) - 1;
    return _mm256_and_si256(_mm256_srli_epi16(bytes, kFirst), _mm256_set1_epi8(kMask));
  }
  static __m256i low_bytes(__m256i a) { return _mm256_and_si256(a, _mm256_set1_epi32(255)); }
  static __m256i subtract_bytes(__m256i a, __m256i b) { return _mm256_sub_epi8(a, b); }
  static __m256i next_bytes(__m256i a) { return _mm256_srli_epi32(a, 8); }

  // The four inputs of vector V, for every row.
  template <int V>
  static __m256i four_inputs(const int8_t* x) {
    int32_t four;
    __builtin_memcpy(&four, x + 4 * V, sizeof(four));
    return broadcast(four);
  }
};

}  // namespace
}  // namespace bitsmith
