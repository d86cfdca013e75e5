// The kernels over an instruction set's registers I; included once by each set's file, everything
// in an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include "kernels/norms.h"
#include "kernels/simd_rows_impl.h"

namespace bitsmith {
namespace {

template <typename I, typename Row, bool kOnePlus>
struct RmsNorm {
  using T = typename Row::Value;

  template <typename Part>
  static typename I::Floats factors(const T* weight, Part part) {
    const auto w = Row::load(weight, part);
    return kOnePlus ? w + I::broadcast(1.0f) : w;
  }

  static void forward(const T* x, const T* weight, int64_t rows, int64_t features, float eps, T* y,
                      float* inverse_rms) {
    for (int64_t row = 0; row < rows; ++row, x += features, y += features) {
      SixteenSums<I> squares;
      for_each_part<I>(features, [&](int64_t i, int k, auto part) {
        const auto v = Row::load(x + i, part);
        squares.part[k] += v * v;
      });
      const float mean = squares.total() / static_cast<float>(features);
      const float inverse = 1.0f / __builtin_sqrtf(mean + eps);
      if (inverse_rms) inverse_rms[row] = inverse;
      const auto r = I::broadcast(inverse);
      for_each_register<I>(features, [&](int64_t i, auto part) {
        const auto v = Row::load(x + i, part) * r;
        Row::store(y + i, factors(weight + i, part) * (kOnePlus ? v : Row::rounded(v)), part);
      });
    }
  }

  // With n = x r and g = weight * dy: dx = r (g - n mean(g n)), dweight = dy n.
  static void backward(const T* x, const T* weight, const float* inverse_rms, const T* dy,
                       int64_t rows, int64_t features, T* dx, float* dweight) {
    for (int64_t row = 0; row < rows; ++row, x += features, dy += features, dx += features) {
      const auto r = I::broadcast(inverse_rms[row]);
      SixteenSums<I> products;
      for_each_part<I>(features, [&](int64_t i, int k, auto part) {
        products.part[k] +=
            factors(weight + i, part) * Row::load(dy + i, part) * Row::load(x + i, part);
      });
      const float mean = products.total() * inverse_rms[row] * inverse_rms[row];
      const auto shrink = I::broadcast(mean / static_cast<float>(features));
      if (dweight) {
        for_each_register<I>(features, [&](int64_t i, auto part) {
          const auto sum = Float32Row<I>::load(dweight + i, part) +
                           Row::load(dy + i, part) * (Row::load(x + i, part) * r);
          Float32Row<I>::store(dweight + i, sum, part);
        });
      }
      for_each_register<I>(features, [&](int64_t i, auto part) {
        const auto g = factors(weight + i, part) * Row::load(dy + i, part);
        Row::store(dx + i, r * (g - Row::load(x + i, part) * shrink), part);
      });
    }
  }
};

template <typename I, typename Row>
void rms_norm(const typename Row::Value* x, const typename Row::Value* weight, bool one_plus_weight,
              int64_t rows, int64_t features, float eps, typename Row::Value* y,
              float* inverse_rms) {
  const auto forward =
      one_plus_weight ? RmsNorm<I, Row, true>::forward : RmsNorm<I, Row, false>::forward;
  forward(x, weight, rows, features, eps, y, inverse_rms);
}

template <typename I, typename Row>
void rms_norm_backward(const typename Row::Value* x, const typename Row::Value* weight,
                       bool one_plus_weight, const float* inverse_rms,
                       const typename Row::Value* dy, int64_t rows, int64_t features,
                       typename Row::Value* dx, float* dweight) {
  const auto backward =
      one_plus_weight ? RmsNorm<I, Row, true>::backward : RmsNorm<I, Row, false>::backward;
  backward(x, weight, inverse_rms, dy, rows, features, dx, dweight);
}

template <typename I>
void layer_norm(const float* x, const float* weight, const float* bias, int64_t rows,
                int64_t features, float eps, float* y) {
  using Row = Float32Row<I>;
  const float count = static_cast<float>(features);
  for (int64_t row = 0; row < rows; ++row, x += features, y += features) {
    SixteenSums<I> values, squares;
    for_each_part<I>(
        features, [&](int64_t i, int k, auto part) { values.part[k] += Row::load(x + i, part); });
    const auto mean = I::broadcast(values.total() / count);
    for_each_part<I>(features, [&](int64_t i, int k, auto part) {
      const auto v = inside<I>(Row::load(x + i, part) - mean, part);
      squares.part[k] += v * v;
    });
    const auto r = I::broadcast(1.0f / __builtin_sqrtf(squares.total() / count + eps));
    for_each_register<I>(features, [&](int64_t i, auto part) {
      auto v = (Row::load(x + i, part) - mean) * r * Row::load(weight + i, part);
      if (bias) v = v + Row::load(bias + i, part);
      Row::store(y + i, v, part);
    });
  }
}

template <typename I>
NormKernels make_norms() {
  using F32 = Float32Row<I>;
  using Bf16 = BFloat16Row<I>;
  return {{rms_norm<I, F32>, rms_norm_backward<I, F32>},
          {rms_norm<I, Bf16>, rms_norm_backward<I, Bf16>},
          layer_norm<I>};
}

}  // namespace
}  // namespace bitsmith
