// The kernel over an instruction set's registers I; included once by each set's file, everything in
// an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include "kernels/rope.h"
#include "kernels/simd_rows_impl.h"

namespace bitsmith {
namespace {

template <typename I, typename Row>
void rope(const RopeCall& call, const typename Row::Value* x, typename Row::Value* y) {
  using Angles = Float32Row<I>;
  const int64_t half = call.half, rest = call.head_dim - 2 * half;
  const auto sign = I::broadcast(call.sign), scale = I::broadcast(call.scale);
  for (int64_t head = 0; head < call.heads; ++head, x += call.head_dim, y += call.head_dim) {
    for_each_register<I>(half, [&](int64_t i, auto part) {
      const auto a = Row::load(x + i, part), b = Row::load(x + half + i, part);
      const auto c = Angles::load(call.cos + i, part);
      const auto s = sign * Angles::load(call.sin + i, part);
      Row::store(y + i, (a * c - b * s) * scale, part);
      Row::store(y + half + i, (b * c + a * s) * scale, part);
    });
    for_each_register<I>(rest, [&](int64_t i, auto part) {
      Row::store(y + 2 * half + i, Row::load(x + 2 * half + i, part) * scale, part);
    });
  }
}

template <typename I>
RopeKernels make_rope() {
  return {rope<I, Float32Row<I>>, rope<I, BFloat16Row<I>>};
}

}  // namespace
}  // namespace bitsmith
