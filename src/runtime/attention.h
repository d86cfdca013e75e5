// Attention of a few queries over one key/value head of a KvCache, and the other element-wise
// functions that need a vector exp. One source (attention_simd.h) is compiled for every instruction
// set; selected_isa() chooses.
//
// This header is included by files compiled for AVX: plain types only, no inline functions.
#pragma once
#include <cstdint>

#include "kernels/cpu_features.h"

namespace bitsmith {

// One query: out[d] = sum_p softmax_p(q . key[p]) value[p][d] over positions first <= p < end.
struct AttentionQuery {
  const float* q;  // [head_dim], already multiplied by 1 / sqrt(head_dim)
  float* out;      // [head_dim]
  int64_t first, end;
};

// Queries over the same head of the same sequence, of neighboring positions.
struct AttentionCall {
  const AttentionQuery* queries;
  int64_t count;
  int64_t head_dim, padded_head_dim;
  const void* keys;    // KvCache's layout, float16 or float32
  const void* values;  // idem
  bool float16;
  float* scratch;  // attention_scratch() floats
};

// Floats of scratch that a call over at most `positions` positions needs.
int64_t attention_scratch(int64_t positions, int64_t padded_head_dim);

struct VectorFunctions {
  void (*attention)(const AttentionCall& call);
  // gate[i] = silu(gate[i]) * up[i], silu(x) = x / (1 + exp(-x)).
  void (*silu_mul)(float* gate, const float* up, int64_t count);
};
// Of selected_isa().
const VectorFunctions& vector_functions();
// Of one level, which this processor must support (tests compare levels).
const VectorFunctions& vector_functions(Isa isa);

}  // namespace bitsmith
