// The kernels over an instruction set's registers I; included once by each set's file, everything
// in an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include "kernels/activations.h"
#include "kernels/simd_pair_impl.h"
#include "kernels/simd_rows_impl.h"
#include "kernels/vector_math_impl.h"

namespace bitsmith {
namespace {

template <typename I, typename Row>
void silu_mul(const typename Row::Value* gate, const typename Row::Value* up, int64_t count,
              typename Row::Value* y) {
  for_each_register<I>(count, [&](int64_t i, auto part) {
    const auto g = Row::load(gate + i, part);
    Row::store(y + i, Row::rounded(g * sigmoid<I>(g)) * Row::load(up + i, part), part);
  });
}

template <typename I, typename Row>
void silu_mul_backward(const typename Row::Value* gate, const typename Row::Value* up,
                       const typename Row::Value* dy, int64_t count, typename Row::Value* dgate,
                       typename Row::Value* dup) {
  const auto one = I::broadcast(1.0f);
  for_each_register<I>(count, [&](int64_t i, auto part) {
    const auto g = Row::load(gate + i, part), d = Row::load(dy + i, part), s = sigmoid<I>(g);
    Row::store(dgate + i, d * Row::load(up + i, part) * s * (one + g * (one - s)), part);
    Row::store(dup + i, d * (g * s), part);
  });
}

template <typename I>
struct Silu {
  static typename I::Floats apply(typename I::Floats x) { return x * sigmoid<I>(x); }
};

template <typename I>
struct Gelu {
  static typename I::Floats apply(typename I::Floats x) { return x * normal_share<I>(x); }
};

// (1 + tanh(u)) / 2 is sigmoid(2 u).
template <typename I>
struct GeluTanh {
  static typename I::Floats apply(typename I::Floats x) {
    const auto cubic = x * x * x * I::broadcast(0.044715f);
    return x * sigmoid<I>((x + cubic) * I::broadcast(1.59576912f));  // 2 sqrt(2 / pi)
  }
};

template <typename I>
struct Relu {
  static typename I::Floats apply(typename I::Floats x) { return I::max(I::zeros(), x); }
};

template <typename I, typename F>
void activate(const float* x, const float* up, int64_t count, float* y) {
  using Row = Float32Row<I>;
  if (up) {
    for_each_register<I>(count, [&](int64_t i, auto part) {
      Row::store(y + i, F::apply(Row::load(x + i, part)) * Row::load(up + i, part), part);
    });
  } else {
    for_each_register<I>(count, [&](int64_t i, auto part) {
      Row::store(y + i, F::apply(Row::load(x + i, part)), part);
    });
  }
}

template <typename Registers>
ActivationKernels make_activations() {
  using I = SimdPair<Registers>;
  using F32 = Float32Row<I>;
  using Bf16 = BFloat16Row<I>;
  return {{silu_mul<I, F32>, silu_mul_backward<I, F32>},
          {silu_mul<I, Bf16>, silu_mul_backward<I, Bf16>},
          activate<I, Silu<I>>,
          activate<I, Gelu<I>>,
          activate<I, GeluTanh<I>>,
          activate<I, Relu<I>>};
}

}  // namespace
}  // namespace bitsmith
