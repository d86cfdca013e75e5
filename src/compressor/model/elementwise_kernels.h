// Plain loops behind fused_ops.h, over contiguous rows of float32 or bfloat16 (as uint16_t),
// float32 inside; one thread's share of the work each. Compiled for AVX-512, AVX2 and the baseline,
// chosen at load time. The same inputs give the same bits on all of them.
#pragma once
#include <cstdint>

namespace bitsmith {

// y = weight * round(x * r), r = 1 / sqrt(mean(x^2) + eps) kept in inverse_rms [rows].
void rms_norm_rows(const float* x, const float* weight, int64_t rows, int64_t features, float eps,
                   float* y, float* inverse_rms);
void rms_norm_rows(const uint16_t* x, const uint16_t* weight, int64_t rows, int64_t features,
                   float eps, uint16_t* y, float* inverse_rms);
// dweight [features] is added to unless null.
void rms_norm_rows_backward(const float* x, const float* weight, const float* inverse_rms,
                            const float* dy, int64_t rows, int64_t features, float* dx,
                            float* dweight);
void rms_norm_rows_backward(const uint16_t* x, const uint16_t* weight, const float* inverse_rms,
                            const uint16_t* dy, int64_t rows, int64_t features, uint16_t* dx,
                            float* dweight);

// y = round(silu(gate)) * up.
void silu_mul_values(const float* gate, const float* up, int64_t count, float* y);
void silu_mul_values(const uint16_t* gate, const uint16_t* up, int64_t count, uint16_t* y);
void silu_mul_values_backward(const float* gate, const float* up, const float* dy, int64_t count,
                              float* dgate, float* dup);
void silu_mul_values_backward(const uint16_t* gate, const uint16_t* up, const uint16_t* dy,
                              int64_t count, uint16_t* dgate, uint16_t* dup);

// The heads of one position: x, y [heads, 2 * half]; cos and sin [half]; sign 1 turns forward, -1
// back.
void rotate_heads(const float* x, const float* cos, const float* sin, float sign, int64_t heads,
                  int64_t half, float* y);
void rotate_heads(const uint16_t* x, const float* cos, const float* sin, float sign, int64_t heads,
                  int64_t half, uint16_t* y);

// Two rows side by side: out [columns][2].
void interleave_rows(const uint16_t* even, const uint16_t* odd, int64_t columns, uint16_t* out);

// A tile of attention's backward pass, keys (rows) against the queries from the first key's
// position on (columns): scores and dp [keys, queries]; lse and delta [queries]. In bfloat16,
// p = exp(scale * scores - lse) where the query is not before the key, else 0, and
// ds = p * (dp - delta) * scale, each [keys, queries]; ds_pairs holds ds as [keys / 2][queries][2].
void attention_gradient_tile(const float* scores, const float* dp, const float* lse,
                             const float* delta, float scale, int64_t keys, int64_t queries,
                             uint16_t* p, uint16_t* ds, uint16_t* ds_pairs);

}  // namespace bitsmith
