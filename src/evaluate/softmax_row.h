// One position's comparison of two distributions over the vocabulary, from their logits.
#pragma once
#include <cstdint>
#include <span>

namespace bitsmith {

struct LogSumExp {
  float max = 0;
  int64_t argmax = 0;  // the first of equals
  double value = 0;    // log sum exp, natural
};
// Of all logits of a position; NaN or infinite where a logit is NaN or plus infinity.
LogSumExp log_sum_exp(std::span<const float> logits);

struct RowComparison {
  LogSumExp teacher, student;
  double kl = 0;  // KL(teacher || student) in nats, >= 0
};
RowComparison compare_rows(std::span<const float> teacher, std::span<const float> student);

}  // namespace bitsmith
