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
    // e^x itself: kl_gradient leaves it in `teacher`.
    for (double x = -87; x < 0; x += 0.00731) {
      float teacher[2] = {0, static_cast<float>(x)}, student[2] = {0, 0};
      const double exact = std::exp(double{teacher[1]});
      level.softmax.kl_gradient(teacher, student, 2, 1);
      EXPECT_EQ(teacher[0], 1);
      ASSERT_LT(std::abs(teacher[1] / exact - 1), 2e-7) << x;
    }
    float teacher[3] = {0, -87.5f, -INFINITY}, student[3] = {};
    level.softmax.kl_gradient(teacher, student, 3, 1);
    EXPECT_EQ(teacher[1], 0);
    EXPECT_EQ(teacher[2], 0);
  }
}

TEST(Softmax, GradientEqualsTheDefinitionAtEveryLevel) {
  Random random(1);
  for (const int64_t n : {1, 2, 15, 16, 17, 255, 256, 257, 300, 1000, 5001}) {
    auto teacher = normal_values(n, random), student = normal_values(n, random);
    for (int64_t i = 0; i < n; ++i) teacher[i] *= 5;
    const auto softmax = [&](const AlignedBuffer<float>& z, std::vector<double>& p) {
      const double max = *std::max_element(z.data(), z.data() + n);
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += std::exp(z[i] - max);
      for (int64_t i = 0; i < n; ++i) p.push_back(std::exp(z[i] - max) / sum);
      return max + std::log(sum);
    };
    std::vector<double> p, q;
    const double lse_p = softmax(teacher, p), lse_q = softmax(student, q);
    double kl = 0;
    for (int64_t i = 0; i < n; ++i)
      kl += p[static_cast<size_t>(i)] * (teacher[i] - lse_p - student[i] + lse_q);
    std::vector<float> first;
    double first_kl = 0;
    for (const KernelTable& level : all_levels()) {
      std::vector<float> t(teacher.data(), teacher.data() + n),
          s(student.data(), student.data() + n);
      const double found = level.softmax.kl_gradient(t.data(), s.data(), n, 3);
      EXPECT_NEAR(found, kl, 2e-6 * (1 + kl)) << n;
      for (size_t i = 0; i < s.size(); ++i) EXPECT_NEAR(s[i], 3 * (q[i] - p[i]), 2e-6);
      if (first.empty()) {
        first = s;
        first_kl = found;
      }
      EXPECT_EQ(s, first) << isa_name(level.isa);
      EXPECT_EQ(found, first_kl) << isa_name(level.isa);
    }
  }
}

}  // namespace
}  // namespace bitsmith
