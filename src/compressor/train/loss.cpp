#include "compressor/train/kl_loss.h"

#include <ATen/Parallel.h>

#include <vector>

#include "kernels/kernel_table.h"

namespace bitsmith {

KlResult kl_divergence(const torch::Tensor& teacher_hidden, const OutputHead& teacher_head,
                       const torch::Tensor& student_hidden, const OutputHead& student_head,
                       bool with_gradient, double grad_scale, int64_t chunk) {
  const torch::NoGradGuard no_grad;
  const int64_t n = student_hidden.size(0), vocab = student_head.weight.size(0);
  const bool bf16 = student_hidden.scalar_type() == torch::kBFloat16;
  KlResult result;
  const bool trains_head = with_gradient && student_head.weight.requires_grad();
  if (with_gradient) result.grad_hidden = torch::empty_like(student_hidden);
  if (trains_head) result.grad_head = torch::zeros(student_head.weight.sizes(), torch::kFloat);
  std::vector<double> row_kl(static_cast<size_t>(n));
  for (int64_t first = 0; first < n; first += chunk) {
    const int64_t count = std::min(chunk, n - first);
    const auto teacher = teacher_head.logits(teacher_hidden.narrow(0, first, count));
    auto student = student_head.logits(student_hidden.narrow(0, first, count));
    const auto cap = static_cast<float>(student_head.soft_cap);
    at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> p(static_cast<size_t>(vocab)), q(static_cast<size_t>(vocab));
      std::vector<float> capped(cap > 0 ? static_cast<size_t>(vocab) : 0);
      // The gradient of a row, by the derivative of the cap: d (cap tanh(z / cap)) / dz.
      const auto kl_gradient = [&](float* student_row, float scale) {
        std::copy_n(student_row, capped.size(), capped.data());
        const double kl = kernels().softmax.kl_gradient(p.data(), student_row, vocab, scale);
        for (size_t i = 0; i < capped.size(); ++i)
          student_row[i] *= 1 - (capped[i] / cap) * (capped[i] / cap);
        return kl;
      };
      for (int64_t r = begin; r < end; ++r) {
        const float scale = static_cast<float>(grad_scale);
        if (bf16) {
          const auto* t =
              reinterpret_cast<const uint16_t*>(teacher.const_data_ptr<at::BFloat16>()) + r * vocab;
          auto* s = reinterpret_cast<uint16_t*>(student.data_ptr<at::BFloat16>()) + r * vocab;
          kernels().bfloat16.widen(t, vocab, p.data());
          kernels().bfloat16.widen(s, vocab, q.data());
          row_kl[first + r] = kl_gradient(q.data(), scale);
          kernels().bfloat16.narrow(q.data(), vocab, s);
        } else {
          float* s = student.data_ptr<float>() + r * vocab;
          std::copy_n(teacher.const_data_ptr<float>() + r * vocab, vocab, p.data());
          row_kl[first + r] = kl_gradient(s, scale);
        }
      }
    });
    if (with_gradient) {
      auto out = result.grad_hidden.narrow(0, first, count);
      at::matmul_out(out, student, student_head.weight);
    }
    if (trains_head)
      result.grad_head.add_(torch::mm(student.t(), student_hidden.narrow(0, first, count)));
  }
  for (const double value : row_kl) result.sum += value;
  return result;
}

}  // namespace bitsmith
