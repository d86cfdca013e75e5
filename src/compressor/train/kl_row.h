// The inner loops of the KL loss over one position's vocabulary, as plain arrays.
#pragma once
#include <cstdint>

namespace bitsmith {

// teacher [vocab] and student [vocab] hold logits. Returns KL(softmax(teacher) || softmax(student))
// and leaves scale * (softmax(student) - softmax(teacher)), its gradient times scale, in `student`;
// `teacher` is overwritten.
double kl_row(float* teacher, float* student, int64_t vocab, float scale);

void bf16_to_floats(const uint16_t* in, float* out, int64_t n);
void floats_to_bf16(const float* in, uint16_t* out, int64_t n);

}  // namespace bitsmith
