// The body of attention and silu_mul, written once in GCC's vector extensions, as wide as the
// instruction set's registers. Included by exactly one .cpp per instruction set, into an unnamed
// namespace, so that no copy compiled for a newer processor leaks into the rest.
#include <cstdint>
#include <cstring>
#if defined(__AVX512F__) || defined(__F16C__)
#include <immintrin.h>
#endif

#include "runtime/attention.h"

namespace bitsmith {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
constexpr int kBlock = 16;  // KvCache::kBlock
typedef float Vector __attribute__((vector_size(4 * kLanes)));
typedef int32_t IntVector __attribute__((vector_size(4 * kLanes)));
constexpr float kMinusInfinity = -__builtin_inff();

Vector load(const float* p) {
  Vector v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
Vector splat(float x) { return x - Vector{}; }
// a * b + c. (The build forbids the compiler to fuse by itself.)
Vector multiply_add(Vector a, Vector b, Vector c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__)
  return _mm256_fmadd_ps(a, b, c);
#else
  return a * b + c;
#endif
}
void store(float* p, Vector v) { std::memcpy(p, &v, sizeof(v)); }

Vector load(const uint16_t* p) {
#if defined(__AVX512F__)
  return reinterpret_cast<Vector>(
      _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
#elif defined(__F16C__)
  return reinterpret_cast<Vector>(
      _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#else
  // Exponent and mantissa moved to a float's places read as value * 2^-112: exact for normal and
  // subnormal numbers (the cache holds no infinities).
  IntVector u;
  for (int i = 0; i < kLanes; ++i) u[i] = p[i];
  const Vector magnitude = reinterpret_cast<Vector>((u & 0x7fff) << 13) * 0x1p112f;
  return reinterpret_cast<Vector>(reinterpret_cast<IntVector>(magnitude) | ((u & 0x8000) << 16));
#endif
}

IntVector lane_index() {
  IntVector v;
  for (int i = 0; i < kLanes; ++i) v[i] = i;
  return v;
}

// exp(x), relative error below 2e-7; 0 for x < -87. x = n ln 2 + r, |r| <= ln 2 / 2; the polynomial
// is exp's Taylor series to r^7 (remainder 6e-9). x <= 88 is assumed.
Vector exp(Vector x) {
  const Vector rounding = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Vector clamped = x < -87.0f ? splat(-87.0f) : x;
  const Vector shifted = clamped * 1.44269504089f + rounding;
  const Vector n = shifted - rounding;
  const Vector r = clamped - n * 0.693359375f + n * 2.12194440e-4f;
  Vector p = splat(1.0f / 5040);
  p = multiply_add(p, r, splat(1.0f / 720));
  p = multiply_add(p, r, splat(1.0f / 120));
  p = multiply_add(p, r, splat(1.0f / 24));
  p = multiply_add(p, r, splat(1.0f / 6));
  p = multiply_add(p, r, splat(0.5f));
  p = multiply_add(p, r, splat(1.0f));
  p = multiply_add(p, r, splat(1.0f));
  // n sits in the low bits of `shifted`; the magic number's own bits drop out of the shift.
  const IntVector exponent = reinterpret_cast<IntVector>(shifted) << 23;
  const Vector result = reinterpret_cast<Vector>(reinterpret_cast<IntVector>(p) + exponent);
  return x < -87.0f ? Vector{} : result;
}

// N queries at a time share every key and value that is loaded.
template <int N, typename T>
void attend(const AttentionCall& call, const AttentionQuery* queries, int count) {
  const T* keys = static_cast<const T*>(call.keys);
  const T* values = static_cast<const T*>(call.values);
  const float* q[N];
  int64_t first = queries[0].first, end = queries[0].end;
  for (int i = 0; i < N; ++i) {  // spare places repeat the last query
    const AttentionQuery& query = queries[i < count ? i : count - 1];
    q[i] = query.q;
    first = query.first < first ? query.first : first;
    end = query.end > end ? query.end : end;
  }
  first = first / kLanes * kLanes;
  const int64_t row = (end - first + kLanes - 1) / kLanes * kLanes;  // scores of one query
  float* scores = call.scratch;                                      // [N, row]

  const IntVector lanes = lane_index();
  Vector largest[N];
  for (int i = 0; i < N; ++i) largest[i] = splat(kMinusInfinity);
  for (int64_t p = first; p < end; p += kLanes) {
    const T* key = keys + p / kBlock * kBlock * call.head_dim + p % kBlock;
    Vector sum[N] = {};
    for (int64_t d = 0; d < call.head_dim; ++d) {
      const Vector k = load(key + d * kBlock);
      for (int i = 0; i < N; ++i) sum[i] = multiply_add(k, splat(q[i][d]), sum[i]);
    }
    const IntVector position = lanes + static_cast<int32_t>(p);
    for (int i = 0; i < N; ++i) {
      const AttentionQuery& query = queries[i < count ? i : count - 1];
      const auto seen = (position >= static_cast<int32_t>(query.first)) &
                        (position < static_cast<int32_t>(query.end));
      const Vector s = seen ? sum[i] : splat(kMinusInfinity);
      largest[i] = s > largest[i] ? s : largest[i];
      store(scores + i * row + p - first, s);
    }
  }

  float total[N];
  for (int i = 0; i < N; ++i) {
    float maximum = largest[i][0];
    for (int lane = 1; lane < kLanes; ++lane)
      maximum = largest[i][lane] > maximum ? largest[i][lane] : maximum;
    Vector sum = {};
    for (int64_t p = 0; p < row; p += kLanes) {
      const Vector e = exp(load(scores + i * row + p) - maximum);
      sum += e;
      store(scores + i * row + p, e);
    }
    total[i] = 0;
    for (int lane = 0; lane < kLanes; ++lane) total[i] += sum[lane];
  }

  // Values in tiles of positions that stay in the first-level cache, 16 dimensions at a time.
  constexpr int64_t kTile = 64;
  float* out = scores + N * row;  // [N, padded_head_dim]
  std::memset(out, 0, sizeof(float) * static_cast<size_t>(N * call.padded_head_dim));
  for (int64_t tile = first; tile < end; tile += kTile) {
    const int64_t tile_end = tile + kTile < end ? tile + kTile : end;
    for (int64_t d = 0; d < call.padded_head_dim; d += kLanes) {
      Vector sum[N];
      for (int i = 0; i < N; ++i) sum[i] = load(out + i * call.padded_head_dim + d);
      for (int64_t p = tile; p < tile_end; ++p) {
        const Vector v = load(values + p * call.padded_head_dim + d);
        const float* weight = scores + p - first;
        for (int i = 0; i < N; ++i) sum[i] = multiply_add(v, splat(weight[i * row]), sum[i]);
      }
      for (int i = 0; i < N; ++i) store(out + i * call.padded_head_dim + d, sum[i]);
    }
  }
  for (int i = 0; i < count; ++i) {
    for (int64_t d = 0; d < call.head_dim; ++d)
      queries[i].out[d] = out[i * call.padded_head_dim + d] / total[i];
  }
}

template <typename T>
void attention_typed(const AttentionCall& call) {
  for (int64_t i = 0; i < call.count;) {
    const AttentionQuery* queries = call.queries + i;
    const int64_t left = call.count - i;
    if (left == 1) {
      attend<1, T>(call, queries, 1);
      i += 1;
    } else if (left <= 4) {
      attend<4, T>(call, queries, static_cast<int>(left));
      i += left;
    } else {
      const int count = static_cast<int>(left < 8 ? left : 8);
      attend<8, T>(call, queries, count);
      i += count;
    }
  }
}

void attention(const AttentionCall& call) {
  if (call.float16) {
    attention_typed<uint16_t>(call);
  } else {
    attention_typed<float>(call);
  }
}

Vector silu_mul_vector(Vector gate, Vector up) {
  const Vector negative = -gate > 87.0f ? splat(87.0f) : -gate;  // exp stays finite
  return gate / (1.0f + exp(negative)) * up;
}

void silu_mul(float* gate, const float* up, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    store(gate + i, silu_mul_vector(load(gate + i), load(up + i)));
  if (i < count) {
    const size_t rest = sizeof(float) * static_cast<size_t>(count - i);
    float g[kLanes] = {}, u[kLanes] = {};
    std::memcpy(g, gate + i, rest);
    std::memcpy(u, up + i, rest);
    store(g, silu_mul_vector(load(g), load(u)));
    std::memcpy(gate + i, g, rest);
  }
}

}  // namespace
}  // namespace bitsmith
