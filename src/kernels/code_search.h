// The inner loops of the compressor's searches for codes. Included by files of an instruction set:
// plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

// Tables over the K centroids of a codebook are padded to a multiple of this many entries; padding
// has a cost of +infinity and vectors of zeros.
constexpr int64_t kCodePadding = 16;

struct SearchKernels {
  // costs[r, k] = base[k] - 2 sum_d linear[r, d] * columns[d, k]; all dense, `padded` entries a
  // row.
  void (*costs)(const float* base, const float* columns, const float* linear, int64_t rows,
                int64_t dim, int64_t padded, float* costs);
  // best[r] = the first k that minimizes the same.
  void (*nearest)(const float* base, const float* columns, const float* linear, int64_t rows,
                  int64_t dim, int64_t padded, int32_t* best);
  // Min-plus product: best[r] = a k1 that minimizes second[r, k1] + min_k0 (first[r, k0] +
  // cross[k0, k1]); first [rows, padded0], second [rows, padded1], cross [count0, padded1].
  void (*nearest_pair)(const float* first, const float* second, const float* cross, int64_t rows,
                       int64_t count0, int64_t padded0, int64_t padded1, int32_t* best);
  // y[i] -= sum_d x[d] * matrix[d * stride + i] for i in [0, count).
  void (*subtract_product)(const float* x, const float* matrix, int64_t dim, int64_t stride,
                           int64_t count, float* y);
};

void fill_scalar(SearchKernels& kernels);
void fill_avx2(SearchKernels& kernels);
void fill_avx512(SearchKernels& kernels);
void fill_neon(SearchKernels& kernels);

}  // namespace bitsmith
