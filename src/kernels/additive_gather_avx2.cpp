#include "kernels/additive_gather.h"
#include "kernels/simd_avx2.h"

namespace bitsmith {
namespace {

// Centroids are read eight values at a time; what is read past the end of a centroid is
// masked away. The codebooks' memory is readable 16 bytes past its end.

// sum_m codebooks[m][codes[m * stride]], its values [i, i + 8). M and G are the number of
// codebooks and the group size where they are known at compile time, else 0.
template <int M, int G, typename Code>
__m256 vector_sum(const AdditiveCodebooks& w, const Code* codes, int64_t stride, int64_t i) {
  const int count = M > 0 ? M : w.num_codebooks;
  const int64_t size = G > 0 ? G : w.in_group_size, num_centroids = w.num_centroids;
  const uint16_t* centroids = w.centroids + i;
  __m256 sum = Simd::load_fp16(centroids + *codes * size);
  for (int m = 1; m < count; ++m) {
    sum = _mm256_add_ps(
        sum, Simd::load_fp16(centroids + (m * num_centroids + codes[m * stride]) * size));
  }
  return sum;
}

// R rows at a time share the loads of x; the order of each row's sum is the same for every R.
// With kScaled x is multiplied by each row's own group scale first.
template <int R, int M, int G, bool kScaled, typename Code>
void multiply_rows(const AdditiveCodebooks& codebooks, const Code* codes,
                   const uint8_t* scale_codes, const float* scales, const float* x, float* y) {
  const AdditiveCodebooks w = codebooks;  // a copy stays in registers
  const int count = M > 0 ? M : w.num_codebooks;
  const int64_t size = G > 0 ? G : w.in_group_size, row_codes = w.groups * count;
  __m256 sum[R];
  for (int r = 0; r < R; ++r) sum[r] = _mm256_setzero_ps();
  for (int64_t j = 0; j < w.groups; ++j, codes += count, x += size) {
    for (int64_t i = 0; i < size; i += 8) {
      const __m256 in = G > 0 || size - i >= 8
                            ? _mm256_loadu_ps(x + i)
                            : _mm256_maskload_ps(x + i, Simd::first_lanes(size - i));
      for (int r = 0; r < R; ++r) {
        __m256 own = in;
        if (kScaled) {
          const float scale = w.group_scales[scale_codes[r * w.groups + j]];
          own = _mm256_mul_ps(in, _mm256_set1_ps(scale));
        }
        sum[r] = _mm256_fmadd_ps(vector_sum<M, G>(w, codes + r * row_codes, 1, i), own, sum[r]);
      }
    }
  }
  for (int r = 0; r < R; ++r) y[r] = scales[r] * Simd::sum_lanes(sum[r]);
}

template <int M, int G, bool kScaled = false, typename Code>
void multiply_all(const AdditiveCodebooks& w, const Code* codes, const uint8_t* scale_codes,
                  const float* scales, int64_t rows, const float* x, float* y) {
  const int64_t row_codes = w.groups * w.num_codebooks;
  const auto own = [&](int64_t r) { return kScaled ? scale_codes + r * w.groups : nullptr; };
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    multiply_rows<4, M, G, kScaled>(w, codes + r * row_codes, own(r), scales + r, x, y + r);
  }
  for (; r < rows; ++r) {
    multiply_rows<1, M, G, kScaled>(w, codes + r * row_codes, own(r), scales + r, x, y + r);
  }
}

template <typename Code>
void gemv_typed(const AdditiveCodebooks& w, const Code* codes, const uint8_t* scale_codes,
                const float* scales, int64_t rows, const float* x, float* y) {
  if (w.group_scales != nullptr) {
    multiply_all<0, 0, true>(w, codes, scale_codes, scales, rows, x, y);
  } else if (w.in_group_size == 8 && w.num_codebooks == 1) {
    multiply_all<1, 8>(w, codes, scale_codes, scales, rows, x, y);
  } else if (w.in_group_size == 8 && w.num_codebooks == 2) {
    multiply_all<2, 8>(w, codes, scale_codes, scales, rows, x, y);
  } else {
    multiply_all<0, 0>(w, codes, scale_codes, scales, rows, x, y);
  }
}

void gemv(const AdditiveCodebooks& w, const void* codes, const uint8_t* scale_codes,
          const float* scales, int64_t rows, const float* x, float* y) {
  if (w.code_bytes == 1) {
    gemv_typed(w, static_cast<const uint8_t*>(codes), scale_codes, scales, rows, x, y);
  } else {
    gemv_typed(w, static_cast<const uint16_t*>(codes), scale_codes, scales, rows, x, y);
  }
}

template <int M, int G, bool kScaled = false, typename Code>
void decode_groups(const AdditiveCodebooks& codebooks, const Code* codes, int64_t stride,
                   const uint8_t* scale_codes, float scale, float* out) {
  const AdditiveCodebooks w = codebooks;  // a copy stays in registers
  const int64_t size = G > 0 ? G : w.in_group_size;
  __m256 scales = _mm256_set1_ps(scale);
  for (int64_t j = 0; j < w.groups; ++j, out += size) {
    if (kScaled) scales = _mm256_set1_ps(scale * w.group_scales[scale_codes[j]]);
    for (int64_t i = 0; i < size; i += 8) {
      const __m256 v = _mm256_mul_ps(vector_sum<M, G>(w, codes, stride, i), scales);
      if (G > 0 || size - i >= 8) {
        _mm256_storeu_ps(out + i, v);
      } else {
        _mm256_maskstore_ps(out + i, Simd::first_lanes(size - i), v);
      }
    }
    codes += w.num_codebooks * stride;
  }
}

template <typename Code>
void decode_typed(const AdditiveCodebooks& w, const Code* codes, int64_t stride,
                  const uint8_t* scale_codes, float scale, float* out) {
  if (w.group_scales != nullptr) {
    decode_groups<0, 0, true>(w, codes, stride, scale_codes, scale, out);
  } else if (w.in_group_size == 8 && w.num_codebooks == 1) {
    decode_groups<1, 8>(w, codes, stride, scale_codes, scale, out);
  } else if (w.in_group_size == 8 && w.num_codebooks == 2) {
    decode_groups<2, 8>(w, codes, stride, scale_codes, scale, out);
  } else {
    decode_groups<0, 0>(w, codes, stride, scale_codes, scale, out);
  }
}

void decode_row(const AdditiveCodebooks& w, const void* codes, int64_t stride,
                const uint8_t* scale_codes, float scale, float* out) {
  if (w.code_bytes == 1) {
    decode_typed(w, static_cast<const uint8_t*>(codes), stride, scale_codes, scale, out);
  } else {
    decode_typed(w, static_cast<const uint16_t*>(codes), stride, scale_codes, scale, out);
  }
}

}  // namespace

void fill_avx2(AdditiveGatherKernels& kernels) { kernels = {gemv, decode_row}; }

}  // namespace bitsmith
