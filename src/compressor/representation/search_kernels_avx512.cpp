#include <immintrin.h>

// GCC 12 takes the undefined pass-through operand of its own intrinsics for a bug (PR 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include "compressor/representation/search_kernels_impl.h"

namespace bitsmith {
namespace {

struct Lanes {
  static constexpr int kLanes = 16, kTile = 4;
  using Index = __m512i;
  __m512 v;

  static Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Lanes broadcast(float x) { return {_mm512_set1_ps(x)}; }
  static Lanes add(Lanes a, Lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
  static Lanes minimum(Lanes a, Lanes b) { return {_mm512_min_ps(a.v, b.v)}; }
  static Lanes multiply_add(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  float lowest_lane() const { return _mm512_reduce_min_ps(v); }
  static Index first_index() {
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  }
  static Index next_index(Index i) { return _mm512_add_epi32(i, _mm512_set1_epi32(kLanes)); }
  static Index same_index(int32_t k) { return _mm512_set1_epi32(k); }
  static void store_index(Index i, int32_t* p) { _mm512_storeu_si512(p, i); }
  static void keep_lower(Lanes value, Index index, Lanes& lowest, Index& at) {
    const __mmask16 lower = _mm512_cmp_ps_mask(value.v, lowest.v, _CMP_LT_OQ);
    lowest.v = _mm512_mask_mov_ps(lowest.v, lower, value.v);
    at = _mm512_mask_mov_epi32(at, lower, index);
  }
};

}  // namespace

const SearchKernels* search_kernels_avx512() {
  static constexpr SearchKernels kernels = make_kernels<Lanes>("avx512");
  __builtin_cpu_init();
  const bool usable = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
  return usable ? &kernels : nullptr;
}

}  // namespace bitsmith
