// The kernel over an instruction set's registers I; included once by each set's file, everything in
// an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include "kernels/dense_gemv.h"
#include "kernels/simd_rows_impl.h"

namespace bitsmith {
namespace {

// Row: Float32Row or BFloat16Row, how the weights are stored.
template <typename I, typename Row>
class DenseKernel {
 public:
  using T = typename Row::Value;

  static void gemv(const T* w, const float* x, int64_t rows, int64_t in_features, float* y) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) multiply_rows<4>(w + r * in_features, x, in_features, y + r);
    for (; r < rows; ++r) multiply_rows<1>(w + r * in_features, x, in_features, y + r);
  }

 private:
  using Floats = typename I::Floats;
  static constexpr int64_t kLanes = I::kLanes;

  // R rows at a time share the loads of x; the order of each row's sum is the same for every R.
  template <int R>
  static void multiply_rows(const T* w, const float* x, int64_t in_features, float* y) {
    Floats even[R], odd[R];
    for (int r = 0; r < R; ++r) even[r] = odd[r] = I::zeros();
    int64_t i = 0;
    for (; i + 2 * kLanes <= in_features; i += 2 * kLanes) {
      const Floats x0 = I::load(x + i), x1 = I::load(x + i + kLanes);
      for (int r = 0; r < R; ++r) {
        const T* row = w + r * in_features + i;
        prefetch(row + R * in_features);
        even[r] = I::multiply_add(Row::load(row), x0, even[r]);
        odd[r] = I::multiply_add(Row::load(row + kLanes), x1, odd[r]);
      }
    }
    for (; i < in_features; i += kLanes) {
      const First left = {in_features - i < kLanes ? in_features - i : kLanes};
      const Floats x0 = Float32Row<I>::load(x + i, left);
      for (int r = 0; r < R; ++r) {
        even[r] = I::multiply_add(Row::load(w + r * in_features + i, left), x0, even[r]);
      }
    }
    for (int r = 0; r < R; ++r) y[r] = I::sum_lanes(even[r] + odd[r]);
  }

  // The R rows after these are R short streams more than the processor follows by itself.
  static void prefetch(const T* p) {
    const char* bytes = reinterpret_cast<const char*>(p);
    __builtin_prefetch(bytes);
    if constexpr (2 * kLanes * sizeof(T) > 64) __builtin_prefetch(bytes + 64);
  }
};

template <typename I>
DenseGemvKernels make_dense_gemv() {
  return {DenseKernel<I, BFloat16Row<I>>::gemv, DenseKernel<I, Float32Row<I>>::gemv};
}

}  // namespace
}  // namespace bitsmith
