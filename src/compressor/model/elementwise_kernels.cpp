#include "compressor/model/elementwise_kernels.h"

#include <bit>
#include <cmath>

#include "base/half.h"

// One function, three compilations. The bodies below are inlined into each.
#if defined(__x86_64__)
#define BITSMITH_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define BITSMITH_CLONES
#endif
#define BITSMITH_INLINE inline __attribute__((always_inline))

namespace bitsmith {
namespace {

constexpr int kLanes = 16;  // partial sums, so that a sum vectorizes in a fixed order

BITSMITH_INLINE float load(float x) { return x; }
BITSMITH_INLINE float load(uint16_t x) { return bf16_to_float(x); }
BITSMITH_INLINE void store(float value, float& out) { out = value; }
BITSMITH_INLINE void store(float value, uint16_t& out) { out = float_to_bf16(value); }
template <typename T>
BITSMITH_INLINE float rounded(float value) {
  T stored;
  store(value, stored);
  return load(stored);
}

BITSMITH_INLINE float lane_sum(const float* lanes) {
  float sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += lanes[i];
  return sum;
}

// e^x for x <= 0 (1e-38 where it is less), to 2 ulp: 2^n * p(r) with Cephes' polynomial on
// |r| <= ln(2) / 2.
BITSMITH_INLINE float exp_nonpositive(float x) {
  x = x < -87.0f ? -87.0f : x;
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float n = (x * 1.44269504f + magic) - magic;
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
}

BITSMITH_INLINE float sigmoid(float x) {
  const float e = exp_nonpositive(-std::fabs(x));
  return (x < 0 ? e : 1.0f) / (1.0f + e);
}

template <typename T>
BITSMITH_INLINE void norm_body(const T* x, const T* weight, int64_t rows, int64_t features,
                               float eps, T* y, float* inverse_rms) {
  for (int64_t row = 0; row < rows; ++row, x += features, y += features) {
    float lanes[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= features; i += kLanes) {
      for (int j = 0; j < kLanes; ++j) {
        const float v = load(x[i + j]);
        lanes[j] += v * v;
      }
    }
    for (; i < features; ++i) lanes[i % kLanes] += load(x[i]) * load(x[i]);
    const float r = 1.0f / std::sqrt(lane_sum(lanes) / static_cast<float>(features) + eps);
    inverse_rms[row] = r;
    for (i = 0; i < features; ++i) store(load(weight[i]) * rounded<T>(load(x[i]) * r), y[i]);
  }
}

// With n = x r and g = weight * dy: dx = r (g - n mean(g n)), dweight = dy n.
template <typename T>
BITSMITH_INLINE void norm_backward_body(const T* x, const T* weight, const float* inverse_rms,
                                        const T* dy, int64_t rows, int64_t features, T* dx,
                                        float* dweight) {
  for (int64_t row = 0; row < rows; ++row, x += features, dy += features, dx += features) {
    const float r = inverse_rms[row];
    float lanes[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= features; i += kLanes) {
      for (int j = 0; j < kLanes; ++j)
        lanes[j] += load(weight[i + j]) * load(dy[i + j]) * load(x[i + j]);
    }
    for (; i < features; ++i) lanes[i % kLanes] += load(weight[i]) * load(dy[i]) * load(x[i]);
    const float shrink = lane_sum(lanes) * r * r / static_cast<float>(features);
    for (i = 0; i < features; ++i)
      store(r * (load(weight[i]) * load(dy[i]) - load(x[i]) * shrink), dx[i]);
    if (dweight) {
      for (i = 0; i < features; ++i) dweight[i] += load(dy[i]) * (load(x[i]) * r);
    }
  }
}

template <typename T>
BITSMITH_INLINE void silu_body(const T* __restrict gate, const T* __restrict up, int64_t count,
                               T* __restrict y) {
  for (int64_t i = 0; i < count; ++i) {
    const float g = load(gate[i]);
    store(rounded<T>(g * sigmoid(g)) * load(up[i]), y[i]);
  }
}

template <typename T>
BITSMITH_INLINE void silu_backward_body(const T* __restrict gate, const T* __restrict up,
                                        const T* __restrict dy, int64_t count, T* __restrict dgate,
                                        T* __restrict dup) {
  for (int64_t i = 0; i < count; ++i) {
    const float g = load(gate[i]), s = sigmoid(g), d = load(dy[i]);
    store(d * load(up[i]) * s * (1.0f + g * (1.0f - s)), dgate[i]);
    store(d * (g * s), dup[i]);
  }
}

template <typename T>
BITSMITH_INLINE void rotate_body(const T* __restrict x, const float* __restrict cos,
                                 const float* __restrict sin, float sign, int64_t heads,
                                 int64_t half, T* __restrict y) {
  for (int64_t head = 0; head < heads; ++head, x += 2 * half, y += 2 * half) {
    for (int64_t i = 0; i < half; ++i) {
      const float a = load(x[i]), b = load(x[half + i]), s = sign * sin[i];
      store(a * cos[i] - b * s, y[i]);
      store(b * cos[i] + a * s, y[half + i]);
    }
  }
}

}  // namespace

#define BITSMITH_ELEMENTWISE(T)                                                                    \
  BITSMITH_CLONES void rms_norm_rows(const T* x, const T* weight, int64_t rows, int64_t features,  \
                                     float eps, T* y, float* inverse_rms) {                        \
    norm_body<T>(x, weight, rows, features, eps, y, inverse_rms);                                  \
  }                                                                                                \
  BITSMITH_CLONES void rms_norm_rows_backward(const T* x, const T* weight,                         \
                                              const float* inverse_rms, const T* dy, int64_t rows, \
                                              int64_t features, T* dx, float* dweight) {           \
    norm_backward_body<T>(x, weight, inverse_rms, dy, rows, features, dx, dweight);                \
  }                                                                                                \
  BITSMITH_CLONES void silu_mul_values(const T* gate, const T* up, int64_t count, T* y) {          \
    silu_body<T>(gate, up, count, y);                                                              \
  }                                                                                                \
  BITSMITH_CLONES void silu_mul_values_backward(const T* gate, const T* up, const T* dy,           \
                                                int64_t count, T* dgate, T* dup) {                 \
    silu_backward_body<T>(gate, up, dy, count, dgate, dup);                                        \
  }                                                                                                \
  BITSMITH_CLONES void rotate_heads(const T* x, const float* cos, const float* sin, float sign,    \
                                    int64_t heads, int64_t half, T* y) {                           \
    rotate_body<T>(x, cos, sin, sign, heads, half, y);                                             \
  }

BITSMITH_ELEMENTWISE(float)
BITSMITH_ELEMENTWISE(uint16_t)

BITSMITH_CLONES void interleave_rows(const uint16_t* even, const uint16_t* odd, int64_t columns,
                                     uint16_t* out) {
  for (int64_t i = 0; i < columns; ++i) {
    out[2 * i] = even[i];
    out[2 * i + 1] = odd[i];
  }
}

BITSMITH_CLONES void attention_gradient_tile(const float* scores, const float* dp, const float* lse,
                                             const float* delta, float scale, int64_t keys,
                                             int64_t queries, uint16_t* p, uint16_t* ds,
                                             uint16_t* ds_pairs) {
  for (int64_t key = 0; key < keys; ++key) {
    const float* __restrict s = scores + key * queries;
    const float* __restrict d = dp + key * queries;
    uint16_t* __restrict p_row = p + key * queries;
    uint16_t* __restrict ds_row = ds + key * queries;
    for (int64_t i = 0; i < key; ++i) p_row[i] = ds_row[i] = 0;
    for (int64_t i = key; i < queries; ++i) {
      const float probability = exp_nonpositive(scale * s[i] - lse[i]);
      store(probability, p_row[i]);
      store(probability * (d[i] - delta[i]) * scale, ds_row[i]);
    }
  }
  for (int64_t key = 0; key < keys; key += 2) {
    const uint16_t* even = ds + key * queries;
    interleave_rows(even, even + queries, queries, ds_pairs + key * queries);
  }
}

}  // namespace bitsmith
