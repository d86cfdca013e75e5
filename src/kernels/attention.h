// Attention of a few queries over one head of cached keys and values. Included by files of an
// instruction set: plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

// Keys and values lie in pages of this many positions, anywhere in memory: a page of keys
// [head_dim, 16], so that 16 scores are one vector; a page of values [16, padded_head_dim], padded
// to a multiple of it. All of a page is readable, and holds finite numbers.
constexpr int64_t kAttentionBlock = 16;

// What a number is stored as. kInt8: behind each page's numbers are 16 float32 scales, one a
// position; a number is its byte times the scale.
enum class KvType { kFloat16, kFloat32, kInt8 };

// Bytes of one head's page.
int64_t key_page_bytes(KvType type, int64_t head_dim);
int64_t value_page_bytes(KvType type, int64_t padded_head_dim);

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
  KvType type;
  // Positions [16 i, 16 i + 16) are in page pages[i]. Page n begins at keys + n * key_page_bytes()
  // and at values + n * value_page_bytes(). No number is infinite.
  const char* keys;
  const char* values;
  const int32_t* pages;
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
void fill_neon(AttentionKernels& kernels);

}  // namespace bitsmith
