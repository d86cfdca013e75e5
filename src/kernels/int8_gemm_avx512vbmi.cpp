#include <immintrin.h>

#include "kernels/int8_gemm.h"

namespace bitsmith {
namespace {

void reorder(int8_t* codes, int64_t units, const uint8_t* order) {
  const __m256i from = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(order));
  for (int64_t u = 0; u < units; ++u, codes += kInt8Unit) {
    auto* unit = reinterpret_cast<__m256i*>(codes);
    _mm256_storeu_si256(unit, _mm256_permutexvar_epi8(from, _mm256_loadu_si256(unit)));
  }
}

}  // namespace

void fill_avx512vbmi(Int8GemmKernels& kernels) { kernels.reorder = reorder; }

}  // namespace bitsmith
