#include "compressor/train/kl_row.h"

#include <bit>
#include <cmath>

#include "evaluate/softmax_row.h"

// The loops are written so that the compiler vectorizes them, once per instruction set; the loader
// picks.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define BITSMITH_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define BITSMITH_CLONES
#endif

namespace bitsmith {
namespace {

constexpr int kLanes =
    16;  // partial sums, so that a reduction needs no reassociation by the compiler

// Replaces logits z by e^(z - max); returns the maximum and the sum.
inline __attribute__((always_inline)) void exponentials(float* z, int64_t n, float& max_out,
                                                        double& sum_out) {
  float lane_max[kLanes];
  for (float& m : lane_max) m = -INFINITY;
  const int64_t whole = n / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) lane_max[l] = z[i + l] > lane_max[l] ? z[i + l] : lane_max[l];
  }
  float max = -INFINITY;
  for (const float m : lane_max) max = m > max ? m : max;
  for (int64_t i = whole; i < n; ++i) max = z[i] > max ? z[i] : max;
  float lane_sum[kLanes] = {};
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      z[i + l] = fast_exp(z[i + l] - max);
      lane_sum[l] += z[i + l];
    }
  }
  double sum = 0;
  for (const float s : lane_sum) sum += s;
  for (int64_t i = whole; i < n; ++i) sum += z[i] = fast_exp(z[i] - max);
  max_out = max;
  sum_out = sum;
}

}  // namespace

BITSMITH_CLONES
double kl_row(float* teacher, float* student, int64_t vocab, float scale) {
  // sum_i p_i (zt_i - zs_i) needs the logits, which the exponentials overwrite: take sum_i e_i
  // (zt_i - zs_i) with e_i = e^(zt_i - max) on the way.
  float max_t = -INFINITY;
  for (int64_t i = 0; i < vocab; ++i) max_t = teacher[i] > max_t ? teacher[i] : max_t;
  float lane_sum[kLanes] = {}, lane_cross[kLanes] = {};
  const int64_t whole = vocab / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const float e = fast_exp(teacher[i + l] - max_t);
      lane_cross[l] += e * (teacher[i + l] - student[i + l]);
      lane_sum[l] += e;
      teacher[i + l] = e;
    }
  }
  double sum_t = 0, cross = 0;
  for (int l = 0; l < kLanes; ++l) {
    sum_t += lane_sum[l];
    cross += lane_cross[l];
  }
  for (int64_t i = whole; i < vocab; ++i) {
    const float e = fast_exp(teacher[i] - max_t);
    cross += e * (teacher[i] - student[i]);
    sum_t += e;
    teacher[i] = e;
  }
  float max_s = 0;
  double sum_s = 0;
  exponentials(student, vocab, max_s, sum_s);
  const float scale_t = scale / static_cast<float>(sum_t),
              scale_s = scale / static_cast<float>(sum_s);
  for (int64_t i = 0; i < vocab; ++i) student[i] = student[i] * scale_s - teacher[i] * scale_t;
  // KL = sum p (zt - zs) - (max_t + log sum_t) + (max_s + log sum_s)
  return cross / sum_t - (max_t + std::log(sum_t)) + (max_s + std::log(sum_s));
}

BITSMITH_CLONES
void bf16_to_floats(const uint16_t* in, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = std::bit_cast<float>(uint32_t{in[i]} << 16);
}

BITSMITH_CLONES
void floats_to_bf16(const float* in, uint16_t* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {  // finite values: no NaN branch
    const uint32_t u = std::bit_cast<uint32_t>(in[i]);
    out[i] = static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
}

}  // namespace bitsmith
