#include "base/half.h"
#include "kernels/dense_gemv.h"

namespace bitsmith {
namespace {

float widen(float w) { return w; }
float widen(uint16_t w) { return bf16_to_float(w); }

template <typename T>
void gemv(const T* w, const float* x, int64_t rows, int64_t in_features, float* y) {
  constexpr int kLanes = 8;  // partial sums: as the vector kernels, and for a smaller error
  for (int64_t r = 0; r < rows; ++r, w += in_features) {
    float sum[kLanes] = {};
    for (int64_t i = 0; i < in_features; ++i) sum[i % kLanes] += widen(w[i]) * x[i];
    y[r] = ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
  }
}

}  // namespace

void fill_scalar(DenseGemvKernels& kernels) { kernels = {gemv<uint16_t>, gemv<float>}; }

}  // namespace bitsmith
