// The element-wise part of attention's backward pass (compressor/model/attention_gradient.cpp), in
// bfloat16 (as uint16_t). The same inputs give the same bits at every level. Included by files of
// an instruction set: plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

// A tile: keys (rows) against the queries from the first key's position on (columns).
struct AttentionTile {
  const float* scores;  // [keys, queries], and dp
  const float* dp;
  const float* lse;  // [queries], and delta
  const float* delta;
  float scale;
  int64_t keys, queries;  // keys even
  // p = exp(scale * scores - lse) where the query is not before the key, else 0, and
  // ds = p * (dp - delta) * scale, each [keys, queries]; ds_pairs is ds as [keys / 2][queries][2].
  uint16_t* p;
  uint16_t* ds;
  uint16_t* ds_pairs;
};

struct AttentionBackwardKernels {
  void (*tile)(const AttentionTile& tile);
  // Two rows side by side: out [columns][2].
  void (*interleave)(const uint16_t* even, const uint16_t* odd, int64_t columns, uint16_t* out);
};

void fill_scalar(AttentionBackwardKernels& kernels);
void fill_avx2(AttentionBackwardKernels& kernels);
void fill_avx512(AttentionBackwardKernels& kernels);
void fill_neon(AttentionBackwardKernels& kernels);

}  // namespace bitsmith
