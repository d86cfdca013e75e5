// The kernels over an instruction set's registers I; included once by each set's file, everything
// in an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include "kernels/bfloat16.h"
#include "kernels/simd_pair_impl.h"
#include "kernels/simd_rows_impl.h"

namespace bitsmith {
namespace {

template <typename I>
void widen(const uint16_t* in, int64_t count, float* out) {
  for_each_register<I>(count, [&](int64_t i, auto part) {
    Float32Row<I>::store(out + i, BFloat16Row<I>::load(in + i, part), part);
  });
}

template <typename I>
void narrow(const float* in, int64_t count, uint16_t* out) {
  const auto nan = I::from_bits(I::broadcast(0x7fc00000));
  for_each_register<I>(count, [&](int64_t i, auto part) {
    const auto v = Float32Row<I>::load(in + i, part);
    BFloat16Row<I>::store(out + i, I::select(I::is_nan(v), nan, v), part);
  });
}

template <typename I>
void accumulate(const uint16_t* in, int64_t count, float* sum) {
  for_each_register<I>(count, [&](int64_t i, auto part) {
    const auto v = Float32Row<I>::load(sum + i, part) + BFloat16Row<I>::load(in + i, part);
    Float32Row<I>::store(sum + i, v, part);
  });
}

template <typename Registers>
BFloat16Kernels make_bfloat16() {
  using I = SimdPair<Registers>;
  return {widen<I>, narrow<I>, accumulate<I>};
}

}  // namespace
}  // namespace bitsmith
