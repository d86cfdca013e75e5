// The kernels over an instruction set's registers I; included once by each set's file, everything
// in an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include "kernels/simd_rows_impl.h"
#include "kernels/softmax.h"
#include "kernels/vector_math_impl.h"

namespace bitsmith {
namespace {

template <typename I>
class Softmax {
 public:
  static ExpSums exp_sums(const float* z, const float* other, int64_t n) {
    return other ? sums<true, false>(z, other, n, nullptr)
                 : sums<false, false>(z, nullptr, n, nullptr);
  }

  static double exponentials(float* z, int64_t n) {
    return sums<false, true>(z, nullptr, n, z).sum;
  }

  static void soft_cap(float* z, int64_t n, float cap) {
    const Floats most = I::broadcast(cap), inverse = I::broadcast(1 / cap);
    for_each_register<I>(n, [&](int64_t i, auto part) {
      Row::store(z + i, most * tanh<I>(Row::load(z + i, part) * inverse), part);
    });
  }

  // KL = sum p (t - s) - log sum e^t + log sum e^s.
  static double kl_gradient(float* teacher, float* student, int64_t vocab, float scale) {
    const ExpSums t = sums<true, true>(teacher, student, vocab, teacher);
    const ExpSums s = sums<false, true>(student, nullptr, vocab, student);
    const auto scale_t = I::broadcast(scale / static_cast<float>(t.sum));
    const auto scale_s = I::broadcast(scale / static_cast<float>(s.sum));
    for_each_register<I>(vocab, [&](int64_t i, auto part) {
      const auto gradient =
          Row::load(student + i, part) * scale_s - Row::load(teacher + i, part) * scale_t;
      Row::store(student + i, gradient, part);
    });
    return t.product / t.sum - (t.max + __builtin_log(t.sum)) + (s.max + __builtin_log(s.sum));
  }

  // d JS / d student_i = q_i (log(q_i / m_i) - KL(q || m)) / 2.
  static double js_gradient(float* teacher, float* student, int64_t vocab, float scale) {
    constexpr int64_t kBlock = 256;
    const ExpSums t = sums<false, true>(teacher, nullptr, vocab, teacher);
    const ExpSums s = sums<false, true>(student, nullptr, vocab, student);
    const auto over_t = I::broadcast(1 / static_cast<float>(t.sum));
    const auto over_s = I::broadcast(1 / static_cast<float>(s.sum));
    const auto least = I::broadcast(1e-30f);  // so that 0 log 0 is 0
    double p_part = 0, q_part = 0;            // KL(p || m), KL(q || m)
    for (int64_t first = 0; first < vocab; first += kBlock) {
      SixteenSums<I> p_sum, q_sum;
      for_each_part<I>(vocab - first < kBlock ? vocab - first : kBlock,
                       [&](int64_t at, int k, auto part) {
                         const int64_t i = first + at;
                         const auto p = Row::load(teacher + i, part) * over_t;
                         const auto q = Row::load(student + i, part) * over_s;
                         const auto over_m = I::broadcast(2.0f) / I::max(p + q, least);
                         const auto q_log = q * log<I>(I::max(q * over_m, least));
                         p_sum.part[k] += p * log<I>(I::max(p * over_m, least));
                         q_sum.part[k] += q_log;
                         Row::store(teacher + i, q_log, part);
                         Row::store(student + i, q, part);
                       });
      p_part += static_cast<double>(p_sum.total());
      q_part += static_cast<double>(q_sum.total());
    }
    const auto mean = I::broadcast(static_cast<float>(q_part));
    const auto half_scale = I::broadcast(0.5f * scale);
    for_each_register<I>(vocab, [&](int64_t i, auto part) {
      const auto gradient = Row::load(teacher + i, part) - Row::load(student + i, part) * mean;
      Row::store(student + i, gradient * half_scale, part);
    });
    return 0.5 * (p_part + q_part);
  }

 private:
  using Row = Float32Row<I>;
  using Floats = typename I::Floats;

  static float max_of(const float* z, int64_t n) {
    constexpr int kChains = 4;  // so that latency does not limit them
    const Floats lowest = I::broadcast(-__builtin_inff());
    Floats most[kChains] = {lowest, lowest, lowest, lowest};
    int64_t i = 0;
    for (; i + kChains * I::kLanes <= n; i += kChains * I::kLanes) {
      for (int k = 0; k < kChains; ++k) most[k] = I::max(I::load(z + i + k * I::kLanes), most[k]);
    }
    float max = I::max_lane(I::max(I::max(most[0], most[1]), I::max(most[2], most[3])));
    for (; i < n; ++i) max = z[i] > max ? z[i] : max;
    return max;
  }

  // With kStore the exponentials go to `e` as well, which may be z.
  template <bool kProduct, bool kStore>
  static ExpSums sums(const float* z, const float* other, int64_t n, float* e) {
    constexpr int64_t kBlock = 256;
    ExpSums result = {max_of(z, n), 0, 0};
    const Floats max = I::broadcast(result.max);
    for (int64_t first = 0; first < n; first += kBlock) {
      const int64_t count = n - first < kBlock ? n - first : kBlock;
      SixteenSums<I> sum, product;
      for_each_part<I>(count, [&](int64_t at, int k, auto part) {
        const int64_t i = first + at;
        const Floats v = Row::load(z + i, part), weight = inside<I>(exp<I>(v - max), part);
        sum.part[k] += weight;
        if constexpr (kProduct) {
          // Bounded, so that a weight of zero times minus infinity is zero.
          const Floats apart = I::max(v - Row::load(other + i, part), I::broadcast(-1e30f));
          product.part[k] += weight * apart;
        }
        if constexpr (kStore) Row::store(e + i, weight, part);
      });
      result.sum += static_cast<double>(sum.total());
      if constexpr (kProduct) result.product += static_cast<double>(product.total());
    }
    return result;
  }
};

template <typename I>
SoftmaxKernels make_softmax() {
  using Kernel = Softmax<I>;
  return {Kernel::exp_sums, Kernel::exponentials, Kernel::soft_cap, Kernel::kl_gradient,
          Kernel::js_gradient};
}

}  // namespace
}  // namespace bitsmith
