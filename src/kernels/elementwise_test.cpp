// norms, activations, rope, bfloat16 and the backward pass of attention: against float64, and the
// same bits at every level.
#include <algorithm>
#include <cstring>
#include <functional>

#include "base/half.h"
#include "kernels/test_support.h"

namespace bitsmith {
namespace {

// run(level, out) at every level: equal bits. Returns them.
template <typename T>
AlignedBuffer<T> same_at_every_level(int64_t count,
                                     const std::function<void(const KernelTable&, T*)>& run) {
  AlignedBuffer<T> expected(count);
  run(make_kernel_table(Isa::scalar), expected.data());
  for (const KernelTable& level : vector_levels()) {
    AlignedBuffer<T> found(count + 1);
    found[count] = T{42};
    run(level, found.data());
    EXPECT_EQ(std::memcmp(found.data(), expected.data(), sizeof(T) * static_cast<size_t>(count)), 0)
        << isa_name(level.isa) << " " << count;
    EXPECT_EQ(found[count], T{42});
  }
  return expected;
}

AlignedBuffer<uint16_t> to_bf16(const AlignedBuffer<float>& x) {
  AlignedBuffer<uint16_t> y(x.size());
  for (int64_t i = 0; i < x.size(); ++i) y[i] = float_to_bf16(x[i]);
  return y;
}

constexpr int64_t kSizes[] = {1, 3, 4, 7, 8, 15, 16, 17, 31, 33, 64, 100, 576};

TEST(BFloat16, RoundsAsTheScalarConversion) {
  Random random(1);
  for (const int64_t n : kSizes) {
    auto x = normal_values(n, random);
    x[0] = n % 2 ? std::nanf("") : INFINITY;
    const auto bf16 = same_at_every_level<uint16_t>(
        n, [&](const KernelTable& level, uint16_t* y) { level.bfloat16.narrow(x.data(), n, y); });
    const auto wide = same_at_every_level<float>(
        n, [&](const KernelTable& level, float* y) { level.bfloat16.widen(bf16.data(), n, y); });
    for (int64_t i = 0; i < n; ++i) {
      EXPECT_EQ(bf16[i], float_to_bf16(x[i]));
      if (std::isnan(x[i])) continue;
      EXPECT_EQ(wide[i], bf16_to_float(bf16[i]));
    }
    const auto sum = same_at_every_level<float>(n, [&](const KernelTable& level, float* y) {
      std::fill_n(y, n, 0.7f);
      level.bfloat16.accumulate(bf16.data(), n, y);
    });
    for (int64_t i = 0; i < n; ++i) {
      if (std::isnan(x[i])) continue;
      EXPECT_EQ(sum[i], 0.7f + bf16_to_float(bf16[i]));
    }
  }
}

TEST(BFloat16, NaNStaysNaNWhateverItsBits) {
  const uint32_t bits[] = {0x7fffffff, 0xffffffff, 0x7f800001, 0x7fc00000, 0xffc00000};
  for (const KernelTable& level : all_levels()) {
    float x[5], wide[5];
    uint16_t narrow[5];
    std::memcpy(x, bits, sizeof(x));
    level.bfloat16.narrow(x, 5, narrow);
    level.bfloat16.widen(narrow, 5, wide);
    for (const float value : wide) EXPECT_TRUE(std::isnan(value)) << isa_name(level.isa);
  }
}

TEST(RmsNorm, EqualsTheDefinition) {
  Random random(2);
  for (const int64_t n : kSizes) {
    for (const bool one_plus : {false, true}) {
      constexpr int64_t kRows = 3;
      constexpr float kEps = 1e-5f;
      const auto x = outlier_values(kRows * n, random), w = normal_values(n, random);
      const auto y = same_at_every_level<float>(kRows * n, [&](const KernelTable& level, float* y) {
        level.norms.rms.forward(x.data(), w.data(), one_plus, kRows, n, kEps, y, nullptr);
      });
      const auto x16 = to_bf16(x), w16 = to_bf16(w);
      const auto y16 =
          same_at_every_level<uint16_t>(kRows * n, [&](const KernelTable& level, uint16_t* y) {
            float inverse_rms[kRows];
            level.norms.rms_bf16.forward(x16.data(), w16.data(), one_plus, kRows, n, kEps, y,
                                         inverse_rms);
          });
      for (int64_t row = 0; row < kRows; ++row) {
        double square = 0;
        for (int64_t i = 0; i < n; ++i) square += double{x[row * n + i]} * x[row * n + i];
        const double r = 1 / std::sqrt(square / static_cast<double>(n) + double{kEps});
        for (int64_t i = 0; i < n; ++i) {
          const double expected = (one_plus ? 1.0 + w[i] : w[i]) * x[row * n + i] * r;
          EXPECT_NEAR(y[row * n + i], expected, 1e-6 * std::abs(expected) + 1e-7);
          EXPECT_NEAR(bf16_to_float(y16[row * n + i]), expected, 0.03 * std::abs(expected) + 0.03);
        }
      }
    }
  }
}

TEST(RmsNorm, GradientEqualsDifferences) {
  Random random(3);
  constexpr int64_t kN = 21;
  constexpr float kEps = 1e-5f;
  const auto x = normal_values(kN, random), w = normal_values(kN, random);
  const auto dy = normal_values(kN, random);
  for (const bool one_plus : {false, true}) {
    // The sum of dy y in float64, as a function of x and w.
    const auto value = [&](const std::vector<double>& xs, const std::vector<double>& ws) {
      double square = 0, sum = 0;
      for (const double v : xs) square += v * v;
      for (size_t i = 0; i < kN; ++i)
        sum += dy[static_cast<int64_t>(i)] * (ws[i] + (one_plus ? 1 : 0)) * xs[i];
      return sum / std::sqrt(square / kN + double{kEps});
    };
    const auto gradients =
        same_at_every_level<float>(2 * kN, [&](const KernelTable& level, float* out) {
          float y[kN], inverse_rms;
          std::fill_n(out + kN, kN, 0.5f);  // dweight is added to
          level.norms.rms.forward(x.data(), w.data(), one_plus, 1, kN, kEps, y, &inverse_rms);
          level.norms.rms.backward(x.data(), w.data(), one_plus, &inverse_rms, dy.data(), 1, kN,
                                   out, out + kN);
        });
    const std::vector<double> xs(x.data(), x.data() + kN), ws(w.data(), w.data() + kN);
    for (size_t i = 0; i < kN; ++i) {
      auto moved_x = xs, moved_w = ws;
      moved_x[i] += 1e-6;
      moved_w[i] += 1e-6;
      EXPECT_NEAR(gradients[static_cast<int64_t>(i)], (value(moved_x, ws) - value(xs, ws)) / 1e-6,
                  1e-4);
      EXPECT_NEAR(gradients[static_cast<int64_t>(kN + i)] - 0.5f,
                  (value(xs, moved_w) - value(xs, ws)) / 1e-6, 1e-4);
    }
  }
}

TEST(LayerNorm, EqualsTheDefinition) {
  Random random(4);
  for (const int64_t n : kSizes) {
    for (const bool biased : {false, true}) {
      auto x = outlier_values(2 * n, random);
      for (int64_t i = 0; i < x.size(); ++i) x[i] += 3;
      const auto w = normal_values(n, random), b = normal_values(n, random);
      const auto y = same_at_every_level<float>(2 * n, [&](const KernelTable& level, float* y) {
        level.norms.layer_norm(x.data(), w.data(), biased ? b.data() : nullptr, 2, n, 1e-5f, y);
      });
      for (int64_t row = 0; row < 2; ++row) {
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < n; ++i) mean += x[row * n + i] / static_cast<double>(n);
        for (int64_t i = 0; i < n; ++i)
          variance += std::pow(x[row * n + i] - mean, 2) / static_cast<double>(n);
        for (int64_t i = 0; i < n; ++i) {
          const double expected =
              (x[row * n + i] - mean) / std::sqrt(variance + 1e-5) * w[i] + (biased ? b[i] : 0);
          EXPECT_NEAR(y[row * n + i], expected, n == 1 ? 1e-4 : 5e-6) << n;
        }
      }
    }
  }
}

TEST(Activations, EqualTheirDefinitions) {
  const auto silu = [](double x) { return x / (1 + std::exp(-x)); };
  const auto gelu = [](double x) { return x * std::erfc(-x / std::sqrt(2.0)) / 2; };
  const auto gelu_tanh = [](double x) {
    return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  };
  const auto relu = [](double x) { return x > 0 ? x : 0; };
  Random random(5);
  for (const int64_t n : {int64_t{1}, int64_t{13}, int64_t{4099}}) {
    auto x = normal_values(n, random), up = normal_values(n, random);
    for (int64_t i = 0; i < n; ++i) x[i] *= i % 3 == 0 ? 10.0f : 1.0f;
    if (n > 4) {
      x[0] = -300;  // exp(300) is beyond float32
      x[1] = 300;
      x[2] = 0;
    }
    const auto check = [&](const auto& run, const auto& exact, bool gated) {
      const auto y = same_at_every_level<float>(n, run);
      for (int64_t i = 0; i < n; ++i) {
        const double u = gated ? up[i] : 1;
        ASSERT_NEAR(y[i], exact(double{x[i]}) * u, 4e-7 * std::abs(x[i] * u) + 1e-37) << x[i];
      }
    };
    check([&](const KernelTable& level,
              float* y) { level.activations.silu_mul.forward(x.data(), up.data(), n, y); },
          silu, true);
    for (const bool gated : {false, true}) {
      const float* u = gated ? up.data() : nullptr;
      const auto with = [&](ActivationKernels::Function ActivationKernels::*function) {
        return [&, function](const KernelTable& level, float* y) {
          (level.activations.*function)(x.data(), u, n, y);
        };
      };
      check(with(&ActivationKernels::silu), silu, gated);
      check(with(&ActivationKernels::gelu), gelu, gated);
      check(with(&ActivationKernels::gelu_tanh), gelu_tanh, gated);
      check(with(&ActivationKernels::relu), relu, gated);
    }
  }
}

TEST(Activations, SiluMulGradientEqualsTheFormula) {
  Random random(6);
  for (const int64_t n : kSizes) {
    const auto g = normal_values(n, random), up = normal_values(n, random);
    const auto dy = normal_values(n, random);
    const auto d = same_at_every_level<float>(2 * n, [&](const KernelTable& level, float* out) {
      level.activations.silu_mul.backward(g.data(), up.data(), dy.data(), n, out, out + n);
    });
    const auto g16 = to_bf16(g), up16 = to_bf16(up), dy16 = to_bf16(dy);
    const auto d16 =
        same_at_every_level<uint16_t>(2 * n, [&](const KernelTable& level, uint16_t* out) {
          level.activations.silu_mul_bf16.backward(g16.data(), up16.data(), dy16.data(), n, out,
                                                   out + n);
        });
    for (int64_t i = 0; i < n; ++i) {
      const double s = 1 / (1 + std::exp(-double{g[i]}));
      const double dgate = dy[i] * up[i] * s * (1 + g[i] * (1 - s)), dup = dy[i] * g[i] * s;
      EXPECT_NEAR(d[i], dgate, 2e-6);
      EXPECT_NEAR(d[n + i], dup, 2e-6);
      EXPECT_NEAR(bf16_to_float(d16[i]), dgate, 0.1);
    }
  }
}

TEST(Rope, TurnsPairsAndLeavesTheRest) {
  Random random(7);
  for (const int64_t half : {1, 4, 9, 32}) {
    for (const int64_t rest : {0, 5, 16}) {
      constexpr int64_t kHeads = 3;
      const int64_t dim = 2 * half + rest;
      const auto x = normal_values(kHeads * dim, random);
      std::vector<float> cos, sin;
      for (int64_t i = 0; i < half; ++i) {
        cos.push_back(std::cos(static_cast<float>(i + 1)));
        sin.push_back(std::sin(static_cast<float>(i + 1)));
      }
      RopeCall call = {cos.data(), sin.data(), kHeads, dim, half, 1, 0.25f};
      const auto y = same_at_every_level<float>(
          kHeads * dim,
          [&](const KernelTable& level, float* y) { level.rope.f32(call, x.data(), y); });
      for (int64_t h = 0; h < kHeads; ++h) {
        const float* from = x.data() + h * dim;
        const float* to = y.data() + h * dim;
        for (int64_t i = 0; i < half; ++i) {
          const double c = cos[static_cast<size_t>(i)], s = sin[static_cast<size_t>(i)];
          EXPECT_NEAR(to[i], 0.25 * (from[i] * c - from[half + i] * s), 1e-6);
          EXPECT_NEAR(to[half + i], 0.25 * (from[half + i] * c + from[i] * s), 1e-6);
        }
        for (int64_t i = 2 * half; i < dim; ++i) EXPECT_EQ(to[i], 0.25f * from[i]);
      }
      call.scale = 1;
      call.sign = -1;
      const auto x16 = to_bf16(x);
      same_at_every_level<uint16_t>(kHeads * dim, [&](const KernelTable& level, uint16_t* y) {
        level.rope.bf16(call, x16.data(), y);
      });
      AlignedBuffer<float> back(kHeads * dim);
      kernels().rope.f32(call, y.data(), back.data());
      for (int64_t i = 0; i < back.size(); ++i) EXPECT_NEAR(back[i], 0.25f * x[i], 1e-6);
    }
  }
}

TEST(AttentionBackward, TileEqualsTheFormula) {
  Random random(8);
  constexpr int64_t kKeys = 6, kQueries = 37, kCount = kKeys * kQueries;
  const auto scores = normal_values(kCount, random), dp = normal_values(kCount, random);
  auto lse = normal_values(kQueries, random);
  const auto delta = normal_values(kQueries, random);
  for (int64_t i = 0; i < kQueries; ++i) lse[i] += 5;
  lse[kQueries - 1] = INFINITY;  // padding
  const auto out =
      same_at_every_level<uint16_t>(3 * kCount, [&](const KernelTable& level, uint16_t* to) {
        level.attention_backward.tile({scores.data(), dp.data(), lse.data(), delta.data(), 0.5f,
                                       kKeys, kQueries, to, to + kCount, to + 2 * kCount});
      });
  for (int64_t key = 0; key < kKeys; ++key) {
    for (int64_t i = 0; i < kQueries; ++i) {
      const int64_t at = key * kQueries + i;
      const double p = i < key ? 0 : std::exp(0.5 * scores[at] - lse[i]);
      const double ds = p * (dp[at] - delta[i]) * 0.5;
      EXPECT_NEAR(bf16_to_float(out[at]), p, 0.005 * p);
      EXPECT_NEAR(bf16_to_float(out[kCount + at]), ds, 0.005 * std::abs(ds));
      EXPECT_EQ(out[2 * kCount + key / 2 * 2 * kQueries + 2 * i + key % 2], out[kCount + at]);
    }
  }
}

}  // namespace
}  // namespace bitsmith
