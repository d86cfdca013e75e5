#include "kernels/int8_gemm.h"

namespace bitsmith {
namespace {

void multiply(const Int8Panel& w, const Int8Inputs& x, int64_t tokens, float* sums) {
  for (int64_t t = 0; t < tokens; ++t) {
    const int8_t* inputs = x.codes + t * x.stride;
    for (int64_t first = 0; first < w.inputs; first += w.chunk) {
      const float input_scale = x.scales[(t * x.stride + first) / kInt8Unit];
      const float* scales = w.scales + first / w.chunk * kInt8Rows;
      for (int64_t r = 0; r < kInt8Rows; ++r) {
        int32_t dot = 0;
        for (int64_t i = first; i < first + w.chunk; ++i) {
          dot += w.codes[(i / 4 * kInt8Rows + r) * 4 + i % 4] * inputs[i];
        }
        sums[t * kInt8Rows + r] += scales[r] * input_scale * static_cast<float>(dot);
      }
    }
  }
}

void pack(const int8_t* w, int64_t rows, int64_t stride, int64_t inputs, int8_t* codes) {
  for (int64_t i = 0; i < inputs; ++i) {
    for (int64_t r = 0; r < kInt8Rows; ++r) {
      codes[(i / 4 * kInt8Rows + r) * 4 + i % 4] = r < rows ? w[r * stride + i] : int8_t{0};
    }
  }
}

void reorder(int8_t* codes, int64_t units, const uint8_t* order) {
  for (int64_t u = 0; u < units; ++u, codes += kInt8Unit) {
    int8_t before[kInt8Unit];
    for (int64_t i = 0; i < kInt8Unit; ++i) before[i] = codes[i];
    for (int64_t i = 0; i < kInt8Unit; ++i) codes[i] = before[order[i]];
  }
}

}  // namespace

void fill_scalar(Int8GemmKernels& kernels) { kernels = {multiply, pack, reorder}; }

}  // namespace bitsmith
