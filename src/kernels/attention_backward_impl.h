// The kernels over an instruction set's registers I; included once by each set's file, everything
// in an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include "kernels/attention_backward.h"
#include "kernels/simd_pair_impl.h"
#include "kernels/simd_rows_impl.h"
#include "kernels/vector_math_impl.h"

namespace bitsmith {
namespace {

void interleave(const uint16_t* __restrict even, const uint16_t* __restrict odd, int64_t columns,
                uint16_t* __restrict out) {
  for (int64_t i = 0; i < columns; ++i) {
    out[2 * i] = even[i];
    out[2 * i + 1] = odd[i];
  }
}

template <typename I>
void gradient_tile(const AttentionTile& tile) {
  using Row = Float32Row<I>;
  using Stored = BFloat16Row<I>;
  const auto scale = I::broadcast(tile.scale);
  for (int64_t key = 0; key < tile.keys; ++key) {
    const int64_t row = key * tile.queries;
    for (int64_t i = 0; i < key; ++i) tile.p[row + i] = tile.ds[row + i] = 0;
    for_each_register<I>(tile.queries - key, [&](int64_t i, auto part) {
      const int64_t query = key + i, at = row + query;
      const auto score = scale * Row::load(tile.scores + at, part);
      const auto p = exp<I>(score - Row::load(tile.lse + query, part));
      Stored::store(tile.p + at, p, part);
      const auto dp = Row::load(tile.dp + at, part);
      Stored::store(tile.ds + at, p * (dp - Row::load(tile.delta + query, part)) * scale, part);
    });
  }
  for (int64_t key = 0; key < tile.keys; key += 2) {
    const uint16_t* even = tile.ds + key * tile.queries;
    interleave(even, even + tile.queries, tile.queries, tile.ds_pairs + key * tile.queries);
  }
}

template <typename I>
AttentionBackwardKernels make_attention_backward() {
  return {gradient_tile<SimdPair<I>>, interleave};
}

}  // namespace
}  // namespace bitsmith
