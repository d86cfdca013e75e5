#include "base/half.h"
#include "kernels/additive_gather.h"

namespace bitsmith {
namespace {

template <typename Code>
void decode_typed(const AdditiveCodebooks& w, const Code* codes, int64_t stride,
                  const uint8_t* scale_codes, float scale, float* out) {
  for (int64_t j = 0; j < w.groups; ++j, out += w.in_group_size) {
    for (int64_t i = 0; i < w.in_group_size; ++i) out[i] = 0;
    for (int m = 0; m < w.num_codebooks; ++m, codes += stride) {
      const uint16_t* centroid = w.centroids + (m * w.num_centroids + *codes) * w.in_group_size;
      for (int64_t i = 0; i < w.in_group_size; ++i) out[i] += fp16_to_float(centroid[i]);
    }
    const float own = w.group_scales != nullptr ? scale * w.group_scales[scale_codes[j]] : scale;
    for (int64_t i = 0; i < w.in_group_size; ++i) out[i] *= own;
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

template <typename Code>
void gemv_typed(const AdditiveCodebooks& w, const Code* codes, const uint8_t* scale_codes,
                const float* scales, int64_t rows, const float* x, float* y) {
  for (int64_t r = 0; r < rows; ++r) {
    float sum = 0;
    for (int64_t j = 0; j < w.groups; ++j) {
      float group_sum = 0;
      for (int m = 0; m < w.num_codebooks; ++m, ++codes) {
        const uint16_t* centroid = w.centroids + (m * w.num_centroids + *codes) * w.in_group_size;
        for (int64_t i = 0; i < w.in_group_size; ++i) {
          group_sum += fp16_to_float(centroid[i]) * x[j * w.in_group_size + i];
        }
      }
      if (w.group_scales != nullptr) group_sum *= w.group_scales[scale_codes[r * w.groups + j]];
      sum += group_sum;
    }
    y[r] = scales[r] * sum;
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

}  // namespace

void fill_scalar(AdditiveGatherKernels& kernels) { kernels = {gemv, decode_row}; }

}  // namespace bitsmith
