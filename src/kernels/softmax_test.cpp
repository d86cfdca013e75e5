#include "kernels/softmax.h"

#include <algorithm>
#include <cstring>

#include "kernels/test_support.h"

namespace bitsmith {
namespace {

// exp by way of sums of two logits: e^0 + e^x.
TEST(Softmax, ExpIsWithinItsBound) {
  for (const KernelTable& level : all_levels()) {
    for (double x = -87; x < 0; x += 0.00731) {
      const float z = static_cast<float>(x), other[2] = {-1, z};
      const float logits[2] = {0, z};
      const ExpSums sums = level.softmax.exp_sums(logits, other, 2);
      EXPECT_EQ(sums.max, 0);
      EXPECT_EQ(sums.product, 1);  // e^0 (0 + 1)
      ASSERT_NEAR(sums.sum - 1, std::exp(double{z}), 1e-7);
    }
    for (double x = -87; x < 0; x += 0.00731) {
      float z[2] = {0, static_cast<float>(x)};
      const double exact = std::exp(double{z[1]});
      EXPECT_NEAR(level.softmax.exponentials(z, 2), 1 + exact, 1e-7);
      EXPECT_EQ(z[0], 1);
      ASSERT_LT(std::abs(z[1] / exact - 1), 2e-7) << x;
    }
    float z[4] = {0, -87.5f, -INFINITY, NAN};
    level.softmax.exponentials(z, 4);
    EXPECT_EQ(z[0], 1);
    EXPECT_EQ(z[1], 0);
    EXPECT_EQ(z[2], 0);
    EXPECT_TRUE(std::isnan(z[3]));
  }
}

TEST(Softmax, SoftCapEqualsTheDefinitionAtEveryLevel) {
  Random random(2);
  for (const int64_t n : {1, 15, 16, 17, 300}) {
    auto logits = normal_values(n, random);
    for (int64_t i = 0; i < n; ++i) logits[i] *= i % 3 == 0 ? 100.0f : 3.0f;
    std::vector<float> first;
    for (const KernelTable& level : all_levels()) {
      std::vector<float> z(logits.data(), logits.data() + n);
      level.softmax.soft_cap(z.data(), n, 30);
      for (int64_t i = 0; i < n; ++i) {
        const double exact = 30 * std::tanh(logits[i] / 30.0);
        EXPECT_NEAR(z[static_cast<size_t>(i)], exact, 1e-6 * std::abs(exact));
      }
      if (first.empty()) first = z;
      EXPECT_EQ(z, first) << isa_name(level.isa);
    }
  }
}

// A divergence of the textbook in float64.
struct Reference {
  double value = 0;
  std::vector<double> gradient;  // by the student's logits
};

Reference kl_reference(const std::vector<double>& p, const std::vector<double>& q) {
  Reference r;
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i] > 0) r.value += p[i] * std::log(p[i] / q[i]);
    r.gradient.push_back(q[i] - p[i]);
  }
  return r;
}

Reference js_reference(const std::vector<double>& p, const std::vector<double>& q) {
  double of_p = 0, of_q = 0;
  std::vector<double> log_q;
  for (size_t i = 0; i < p.size(); ++i) {
    const double m = (p[i] + q[i]) / 2;
    if (p[i] > 0) of_p += p[i] * std::log(p[i] / m);
    log_q.push_back(q[i] > 0 ? std::log(q[i] / m) : 0);
    of_q += q[i] * log_q.back();
  }
  Reference r = {(of_p + of_q) / 2, {}};
  for (size_t i = 0; i < p.size(); ++i) r.gradient.push_back(q[i] * (log_q[i] - of_q) / 2);
  return r;
}

TEST(Softmax, GradientsEqualTheDefinitionAtEveryLevel) {
  Random random(1);
  for (const int64_t n : {1, 2, 15, 16, 17, 255, 256, 257, 300, 1000, 5001}) {
    auto teacher = normal_values(n, random), student = normal_values(n, random);
    for (int64_t i = 0; i < n; ++i) teacher[i] *= 5;
    const auto softmax = [&](const AlignedBuffer<float>& z) {
      const double max = *std::max_element(z.data(), z.data() + n);
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += std::exp(z[i] - max);
      std::vector<double> p;
      for (int64_t i = 0; i < n; ++i) p.push_back(std::exp(z[i] - max) / sum);
      return p;
    };
    const auto p = softmax(teacher), q = softmax(student);
    const auto compare = [&](auto SoftmaxKernels::*kernel, const Reference& reference) {
      std::vector<float> first;
      double first_value = 0;
      for (const KernelTable& level : all_levels()) {
        std::vector<float> t(teacher.data(), teacher.data() + n),
            s(student.data(), student.data() + n);
        const double found = (level.softmax.*kernel)(t.data(), s.data(), n, 3);
        EXPECT_NEAR(found, reference.value, 2e-6 * (1 + reference.value)) << n;
        for (size_t i = 0; i < s.size(); ++i) EXPECT_NEAR(s[i], 3 * reference.gradient[i], 2e-6);
        if (first.empty()) {
          first = s;
          first_value = found;
        }
        EXPECT_EQ(s, first) << isa_name(level.isa);
        EXPECT_EQ(found, first_value) << isa_name(level.isa);
      }
    };
    compare(&SoftmaxKernels::kl_gradient, kl_reference(p, q));
    compare(&SoftmaxKernels::js_gradient, js_reference(p, q));
  }
}

// Tokens that a teacher rules out add nothing, whatever the student gives them.
TEST(Softmax, LogitsOfMinusInfinityHaveNoShare) {
  for (const KernelTable& level : all_levels()) {
    for (const float ruled_out : {2.0f, -INFINITY}) {
      for (const auto kernel : {level.softmax.kl_gradient, level.softmax.js_gradient}) {
        float p[4] = {1, -INFINITY, 0, -INFINITY}, q[4] = {0, -1000, 1, ruled_out};
        float p_far[4] = {1, -1000, 0, -1000}, q_far[4] = {0, -1000, 1, std::max(ruled_out, -1e3f)};
        EXPECT_NEAR(kernel(p, q, 4, 1), kernel(p_far, q_far, 4, 1), 1e-6);
        for (int i = 0; i < 4; ++i) EXPECT_NEAR(q[i], q_far[i], 1e-6);
      }
    }
  }
}

// Far apart, and equal: the ends of its range.
TEST(Softmax, JensenShannonStaysInItsRange) {
  for (const KernelTable& level : all_levels()) {
    float p[3] = {0, -1000, -1000}, q[3] = {-1000, 0, -1000};
    EXPECT_NEAR(level.softmax.js_gradient(p, q, 3, 1), std::log(2.0), 1e-6);
    for (const float gradient : q) EXPECT_NEAR(gradient, 0, 1e-6);
    float same[2][3] = {{1, 2, 3}, {1, 2, 3}};
    EXPECT_NEAR(level.softmax.js_gradient(same[0], same[1], 3, 1), 0, 1e-6);
  }
}

}  // namespace
}  // namespace bitsmith
