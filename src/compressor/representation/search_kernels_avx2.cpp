#include <immintrin.h>

#include "compressor/representation/search_kernels_impl.h"

namespace bitsmith {
namespace {

struct Lanes {
  static constexpr int kLanes = 8, kTile = 2;
  using Index = __m256i;
  __m256 v;

  static Lanes load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Lanes broadcast(float x) { return {_mm256_set1_ps(x)}; }
  static Lanes add(Lanes a, Lanes b) { return {_mm256_add_ps(a.v, b.v)}; }
  static Lanes minimum(Lanes a, Lanes b) { return {_mm256_min_ps(a.v, b.v)}; }
  static Lanes multiply_add(Lanes a, Lanes b, Lanes c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  float lowest_lane() const {
    const __m128 half = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_min_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_min_ss(two, _mm_shuffle_ps(two, two, 1)));
  }
  static Index first_index() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
  static Index next_index(Index i) { return _mm256_add_epi32(i, _mm256_set1_epi32(kLanes)); }
  static Index same_index(int32_t k) { return _mm256_set1_epi32(k); }
  static void store_index(Index i, int32_t* p) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), i);
  }
  static void keep_lower(Lanes value, Index index, Lanes& lowest, Index& at) {
    const __m256 lower = _mm256_cmp_ps(value.v, lowest.v, _CMP_LT_OQ);
    lowest.v = _mm256_blendv_ps(lowest.v, value.v, lower);
    at = _mm256_blendv_epi8(at, index, _mm256_castps_si256(lower));
  }
};

}  // namespace

const SearchKernels* search_kernels_avx2() {
  static constexpr SearchKernels kernels = make_kernels<Lanes>("avx2");
  __builtin_cpu_init();
  const bool usable = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return usable ? &kernels : nullptr;
}

}  // namespace bitsmith
