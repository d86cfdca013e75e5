// Many tokens at once: weights decoded to float32 row panels, then a register-tiled product.
// A row panel (here: panel) holds 32 rows of the matrix, transposed: panel[i * 32 + r] = w[r, i],
// rows that the matrix does not have are zero.
// Included by files of an instruction set: plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

inline constexpr int64_t kPanelRows = 32;

struct PanelGemmKernels {
  // y[t * y_stride + r] = sum_i x[t * in_features + i] * w[r, i] for r in [0, rows), over
  // ceil(rows / 32) consecutive panels of in_features * 32 floats on 64-byte boundaries. Each sum
  // runs through i in ascending order in one float32, so that it depends neither on the other
  // tokens nor on the other rows.
  void (*multiply)(const float* panels, int64_t rows, const float* x, int64_t tokens,
                   int64_t in_features, float* y, int64_t y_stride);
  // One panel of `rows` <= 32 rows from row-major weights.
  void (*pack_f32)(const float* w, int64_t rows, int64_t in_features, float* panel);
  void (*pack_bf16)(const uint16_t* w, int64_t rows, int64_t in_features, float* panel);
};

void fill_scalar(PanelGemmKernels& kernels);
void fill_avx2(PanelGemmKernels& kernels);
void fill_avx512(PanelGemmKernels& kernels);
void fill_neon(PanelGemmKernels& kernels);

}  // namespace bitsmith
