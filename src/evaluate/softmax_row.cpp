#include "evaluate/softmax_row.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace bitsmith {
namespace {

// Values are handled in blocks: a float loop that vectorizes, then sums in float64 that are split
// over a few lanes, so that they vectorize as well. The order of additions is fixed.
constexpr int64_t kBlock = 256;
constexpr int64_t kLanes = 8;

struct Lanes {
  double sum[kLanes] = {};

  double total() const {
    double total = 0;
    for (const double value : sum) total += value;
    return total;
  }
};

float max_of(std::span<const float> values) {
  float lanes[16];
  std::fill(std::begin(lanes), std::end(lanes), -std::numeric_limits<float>::infinity());
  const int64_t size = static_cast<int64_t>(values.size()), whole = size / 16 * 16;
  for (int64_t i = 0; i < whole; i += 16) {
    for (int64_t lane = 0; lane < 16; ++lane) {
      const float value = values[i + lane];
      lanes[lane] = value > lanes[lane] ? value : lanes[lane];
    }
  }
  float max = *std::max_element(std::begin(lanes), std::end(lanes));
  for (int64_t i = whole; i < size; ++i) max = std::max(max, values[i]);
  return max;
}

// e^(value - max) of a block; what lies beyond `count` becomes 0.
void exponentials(const float* values, int64_t count, float max, float (&out)[kBlock]) {
  for (int64_t i = 0; i < count; ++i) out[i] = fast_exp(values[i] - max);
  for (int64_t i = count; i < kBlock; ++i) out[i] = 0;
}

void add(const float (&values)[kBlock], Lanes& lanes) {
  for (int64_t i = 0; i < kBlock; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) lanes.sum[lane] += double{values[i + lane]};
  }
}

LogSumExp finish(std::span<const float> logits, float max, double sum) {
  const auto at = std::find(logits.begin(), logits.end(), max);
  return {max, at == logits.end() ? 0 : at - logits.begin(), double{max} + std::log(sum)};
}

}  // namespace

LogSumExp log_sum_exp(std::span<const float> logits) {
  const float max = max_of(logits);
  const int64_t size = static_cast<int64_t>(logits.size());
  float block[kBlock];
  Lanes sums;
  for (int64_t first = 0; first < size; first += kBlock) {
    exponentials(&logits[first], std::min(kBlock, size - first), max, block);
    add(block, sums);
  }
  return finish(logits, max, sums.total());
}

// With e_i = exp(t_i - max t): KL = sum e_i (t_i - s_i) / sum e_i - lse(t) + lse(s).
RowComparison compare_rows(std::span<const float> teacher, std::span<const float> student) {
  BITSMITH_CHECK(teacher.size() == student.size());
  const float teacher_max = max_of(teacher), student_max = max_of(student);
  const int64_t size = static_cast<int64_t>(teacher.size());
  float weights[kBlock], block[kBlock];
  Lanes teacher_sums, student_sums, products;
  for (int64_t first = 0; first < size; first += kBlock) {
    const int64_t count = std::min(kBlock, size - first);
    exponentials(&student[first], count, student_max, block);
    add(block, student_sums);
    exponentials(&teacher[first], count, teacher_max, weights);
    add(weights, teacher_sums);
    for (int64_t i = 0; i < count; ++i) block[i] = teacher[first + i] - student[first + i];
    for (int64_t i = count; i < kBlock; ++i) block[i] = 0;
    for (int64_t i = 0; i < kBlock; i += kLanes) {
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        products.sum[lane] += double{weights[i + lane]} * double{block[i + lane]};
      }
    }
  }
  RowComparison result;
  result.teacher = finish(teacher, teacher_max, teacher_sums.total());
  result.student = finish(student, student_max, student_sums.total());
  const double kl =
      products.total() / teacher_sums.total() - result.teacher.value + result.student.value;
  result.kl = kl < 0 ? 0 : kl;  // only rounding makes it negative; NaN stays
  return result;
}

}  // namespace bitsmith
