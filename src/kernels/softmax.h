// Softmax and divergences of one position's logits. Exponentials in float32, summed in float64
// by 256 at a time: relative error of a sum below 3e-7. The same inputs give the same bits at every
// level. Included by files of an instruction set: plain types only.
#pragma once
#include <cstdint>

namespace bitsmith {

struct ExpSums {
  float max;       // of the logits; NaN does not count
  double sum;      // of e^(z - max), natural; NaN where a logit is NaN or plus infinity
  double product;  // of e^(z - max) (z - other); 0 of a z of minus infinity
};

struct SoftmaxKernels {
  // n > 0. `product` is 0 where `other` is null.
  ExpSums (*exp_sums)(const float* z, const float* other, int64_t n);
  // z becomes e^(z - max), as of exp_sums; returns their sum. n > 0.
  double (*exponentials)(float* z, int64_t n);
  // z becomes cap tanh(z / cap), cap > 0: relative error below 1e-6.
  void (*soft_cap)(float* z, int64_t n, float cap);
  // teacher [vocab] and student [vocab] hold logits. Returns KL(softmax(teacher) ||
  // softmax(student)) and leaves scale * (softmax(student) - softmax(teacher)), its gradient times
  // scale, in `student`; `teacher` is overwritten.
  double (*kl_gradient)(float* teacher, float* student, int64_t vocab, float scale);
  // The same of the Jensen-Shannon divergence, KL(p || m) / 2 + KL(q || m) / 2 with m = (p + q) /
  // 2, in [0, ln 2] (Lin 1991): absolute error below 1e-6.
  double (*js_gradient)(float* teacher, float* student, int64_t vocab, float scale);
};

void fill_scalar(SoftmaxKernels& kernels);
void fill_avx2(SoftmaxKernels& kernels);
void fill_avx512(SoftmaxKernels& kernels);
void fill_neon(SoftmaxKernels& kernels);

}  // namespace bitsmith
