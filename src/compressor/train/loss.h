// [5] The objective of tuning: KL(teacher || student) of next-token distributions, averaged over
// positions, in chunks of positions, so that no full [tokens, vocab] matrix exists. PV-Tuning,
// section 4 and appendix I.
#pragma once
#include "compressor/model/decoder.h"

namespace bitsmith {

struct KlResult {
  double sum = 0;             // over positions, nats
  torch::Tensor grad_hidden;  // d(grad_scale * sum) / d student_hidden, [n, hidden]; undefined
                              // without gradient
  torch::Tensor grad_head;    // ... / d student_head.weight, [vocab, hidden] float32; undefined
                              // where the weight wants none
};

// Hidden states [n, hidden] and heads, all of one dtype (float32 or bfloat16). The head's gradient
// is formed where its weight requires one; softmax and sums are float32 / float64.
KlResult kl_divergence(const torch::Tensor& teacher_hidden, const OutputHead& teacher_head,
                       const torch::Tensor& student_hidden, const OutputHead& student_head,
                       bool with_gradient, double grad_scale = 1.0, int64_t chunk = 256);

}  // namespace bitsmith
