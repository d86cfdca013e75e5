#include "evaluate/softmax_row.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"

namespace bitsmith {
namespace {

std::vector<float> random_logits(Random& random, size_t size, double spread) {
  std::vector<float> logits(size);
  for (float& value : logits) value = static_cast<float>(spread * random.normal());
  return logits;
}

double slow_log_sum_exp(const std::vector<float>& logits) {
  const double max = *std::max_element(logits.begin(), logits.end());
  long double sum = 0;
  for (const float value : logits) sum += std::exp(static_cast<long double>(value) - max);
  return max + static_cast<double>(std::log(sum));
}

TEST(SoftmaxRow, LogSumExpOfAnySize) {
  Random random(1);
  for (const size_t size : {1, 2, 15, 16, 17, 255, 256, 257, 1000, 49152}) {
    for (const double spread : {0.0, 1.0, 30.0}) {
      const std::vector<float> logits = random_logits(random, size, spread);
      const LogSumExp result = log_sum_exp(logits);
      const auto largest = std::max_element(logits.begin(), logits.end());
      EXPECT_EQ(result.max, *largest);
      EXPECT_EQ(result.argmax, largest - logits.begin());
      EXPECT_NEAR(result.value, slow_log_sum_exp(logits), 1e-6);
    }
  }
}

TEST(SoftmaxRow, DivergenceAgreesWithTheDefinition) {
  Random random(2);
  for (const size_t size : {1, 7, 300, 5000}) {
    for (const double spread : {0.1, 3.0, 15.0}) {
      const std::vector<float> teacher = random_logits(random, size, spread);
      const std::vector<float> student = random_logits(random, size, spread);
      const double teacher_sum = slow_log_sum_exp(teacher), student_sum = slow_log_sum_exp(student);
      double kl = 0;
      for (size_t i = 0; i < size; ++i) {
        const double log_p = teacher[i] - teacher_sum, log_q = student[i] - student_sum;
        kl += std::exp(log_p) * (log_p - log_q);
      }
      const RowComparison result = compare_rows(teacher, student);
      EXPECT_NEAR(result.kl, kl, 2e-6 * (1 + kl)) << size << " " << spread;
      EXPECT_NEAR(result.student.value, log_sum_exp(student).value, 1e-12);
      EXPECT_NEAR(result.teacher.value, log_sum_exp(teacher).value, 1e-12);
      EXPECT_EQ(compare_rows(teacher, teacher).kl, 0);
    }
  }
}

TEST(SoftmaxRow, DamagedLogitsAreSeen) {
  Random random(3);
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    for (const size_t at : {0, 100, 299}) {
      std::vector<float> logits = random_logits(random, 300, 1);
      const std::vector<float> good = logits;
      logits[at] = bad;
      EXPECT_FALSE(std::isfinite(log_sum_exp(logits).value));
      EXPECT_FALSE(std::isfinite(compare_rows(good, logits).kl));
      EXPECT_FALSE(std::isfinite(compare_rows(logits, good).kl));
    }
  }
}

}  // namespace
}  // namespace bitsmith
