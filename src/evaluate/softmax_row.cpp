#include "evaluate/softmax_row.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/kernel_table.h"

namespace bitsmith {
namespace {

LogSumExp finish(std::span<const float> logits, const ExpSums& sums) {
  const auto at = std::find(logits.begin(), logits.end(), sums.max);
  return {sums.max, at == logits.end() ? 0 : at - logits.begin(),
          double{sums.max} + std::log(sums.sum)};
}

}  // namespace

LogSumExp log_sum_exp(std::span<const float> logits) {
  return finish(logits, kernels().softmax.exp_sums(logits.data(), nullptr, std::ssize(logits)));
}

// With e_i = exp(t_i - max t): KL = sum e_i (t_i - s_i) / sum e_i - lse(t) + lse(s).
RowComparison compare_rows(std::span<const float> teacher, std::span<const float> student) {
  BITSMITH_CHECK(teacher.size() == student.size());
  const auto& exp_sums = kernels().softmax.exp_sums;
  const ExpSums t = exp_sums(teacher.data(), student.data(), std::ssize(teacher));
  RowComparison result;
  result.teacher = finish(teacher, t);
  result.student = log_sum_exp(student);
  const double kl = t.product / t.sum - result.teacher.value + result.student.value;
  result.kl = kl < 0 ? 0 : kl;  // only rounding makes it negative; NaN stays
  return result;
}

}  // namespace bitsmith
