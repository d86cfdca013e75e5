// Additive codes (aqMxBgG[-sS]) by fetching centroids:
//   w[r, j G .. j G + G - 1] = scale[r] * sum_m codebooks[m][code[r, j, m]],
// with -s times group_scales[scale_code[r, j]].
// Exact weights and float32 activations, for every M, B and G. Included by files of an instruction
// set: plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

struct AdditiveCodebooks {
  const uint16_t* centroids;  // float16 [M, num_centroids, G], and 16 readable, finite bytes more
  int num_codebooks;          // M
  int64_t num_centroids;      // 2^B
  int64_t in_group_size;      // G
  int64_t groups;             // in_features / G
  int code_bytes;             // how the codes are stored: 1 for B <= 8, else 2
  const float* group_scales = nullptr;  // [2^S], null: groups have none
};

struct AdditiveGatherKernels {
  // y[r] = sum_i x[i] w[r, i]; codes [rows, groups, M], scale_codes [rows, groups] (read only where
  // there are group scales), scales [rows]. Errors as in dense_gemv.h.
  void (*gemv)(const AdditiveCodebooks& w, const void* codes, const uint8_t* scale_codes,
               const float* scales, int64_t rows, const float* x, float* y);
  // out[i] = one row of w: sums over m ascending in float32, then times the scale. Its code (j, m)
  // is codes[(j * M + m) * stride]; the stride (in codes) is 1 or that of interleaved rows.
  // scale_codes [groups] are the row's.
  void (*decode_row)(const AdditiveCodebooks& w, const void* codes, int64_t stride,
                     const uint8_t* scale_codes, float scale, float* out);
};

void fill_scalar(AdditiveGatherKernels& kernels);
void fill_avx2(AdditiveGatherKernels& kernels);
void fill_neon(AdditiveGatherKernels& kernels);

}  // namespace bitsmith
