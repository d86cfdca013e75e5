// Attention of a few queries over one head of cached keys and values. Included by files compiled
// for AVX: plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

// Keys lie in blocks of this many positions [position / 16, head_dim, 16], so that 16 scores are
// one vector; values row by row [position, padded_head_dim], padded to a multiple of it. Memory of
// whole blocks is readable, and holds finite numbers.
constexpr int64_t kAttentionBlock = 16;

// One query, at position end - 1: out[d] = sum_p softmax_p(score[p]) value[p][d] over positions
// first <= p < end; score[p] = q . key[p], capped, then + alibi_slope * (p - (end - 1)).
struct AttentionQuery {
  const float* q;  // [head_dim], already multiplied by the scale of scores: 1 / sqrt(head_dim)
  float* out;      // [head_dim]
  int64_t first, end;
  float alibi_slope = 0;  // 0: none
};

// Queries over the same head of the same sequence, of neighboring positions.
struct AttentionCall {
  const AttentionQuery* queries;
  int64_t count;
  int64_t head_dim, padded_head_dim;
  const void* keys;    // float16 or float32, without infinities
  const void* values;  // idem
  bool float16;
  float* scratch;  // attention_scratch() floats
  // Scores become soft_cap * tanh(score / soft_cap); 0: they stay.
  float soft_cap = 0;
};

// Floats of scratch that a call over at most `positions` positions needs.
int64_t attention_scratch(int64_t positions, int64_t padded_head_dim);

struct AttentionKernels {
  void (*attend)(const AttentionCall& call);
};

void fill_scalar(AttentionKernels& kernels);
void fill_avx2(AttentionKernels& kernels);
void fill_avx512(AttentionKernels& kernels);

}  // namespace bitsmith
