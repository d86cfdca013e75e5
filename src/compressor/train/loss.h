// [5] The objectives of tuning, in chunks of positions, so that no full [tokens, vocab] matrix
// exists. PV-Tuning, section 4 and appendix I.
#pragma once
#include "compressor/train/loss_options.h"
#include "compressor/train/teacher.h"

namespace bitsmith {

struct LossResult {
  double sum = 0;             // over positions, nats
  torch::Tensor grad_hidden;  // d(grad_scale * sum) / d student_hidden, [n, hidden]; undefined
                              // without gradient
  torch::Tensor grad_head;    // ... / d student_head.weight, [vocab, hidden] float32; undefined
                              // where the weight wants none
};

// Of the positions that a student has the final hidden states [n, hidden] of, float32 or bfloat16
// as the head. `teacher` may be null where options.needs_teacher() is false. `labels` [n] int64:
// the token that follows, -1 where none does; the mean cross-entropy of those that have one stands
// for the others, and undefined labels do where the loss has no cross-entropy. The head's gradient
// is formed where its weight requires one; softmax and sums are float32 / float64.
LossResult training_loss(const LossOptions& options, TeacherRows* teacher,
                         const torch::Tensor& labels, const torch::Tensor& student_hidden,
                         const OutputHead& student_head, bool with_gradient,
                         double grad_scale = 1.0, int64_t chunk = 256);

// The tokens that follow those of windows [n, length] int64, as labels [n * length]: none for the
// last of a window.
torch::Tensor next_tokens(const torch::Tensor& ids);

}  // namespace bitsmith
