#include "base/half.h"
#include "kernels/panel_gemm.h"

namespace bitsmith {
namespace {

void multiply(const float* panels, int64_t rows, const float* x, int64_t tokens,
              int64_t in_features, float* y, int64_t y_stride) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t first = 0; first < rows; first += kPanelRows) {
      const float* panel = panels + first * in_features;
      float sum[kPanelRows] = {};
      for (int64_t i = 0; i < in_features; ++i) {
        for (int64_t r = 0; r < kPanelRows; ++r) {
          sum[r] += x[t * in_features + i] * panel[i * kPanelRows + r];
        }
      }
      for (int64_t r = 0; r < kPanelRows && first + r < rows; ++r) {
        y[t * y_stride + first + r] = sum[r];
      }
    }
  }
}

float widen(float w) { return w; }
float widen(uint16_t w) { return bf16_to_float(w); }

template <typename T>
void pack(const T* w, int64_t rows, int64_t in_features, float* panel) {
  for (int64_t i = 0; i < in_features; ++i) {
    for (int64_t r = 0; r < kPanelRows; ++r) {
      panel[i * kPanelRows + r] = r < rows ? widen(w[r * in_features + i]) : 0.0f;
    }
  }
}

}  // namespace

void fill_scalar(PanelGemmKernels& kernels) { kernels = {multiply, pack<float>, pack<uint16_t>}; }

}  // namespace bitsmith
