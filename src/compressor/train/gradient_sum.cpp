#include "compressor/train/gradient_sum.h"

#include <ATen/Parallel.h>

#include "kernels/kernel_table.h"

namespace bitsmith {

void add_to_sum(const torch::Tensor& term, torch::Tensor& sum) {
  const torch::NoGradGuard no_grad;
  if (!sum.defined()) sum = torch::zeros(term.sizes(), torch::kFloat32);
  const bool in_bfloat16 = term.scalar_type() == torch::kBFloat16 && term.is_cpu() &&
                           term.is_contiguous() && sum.is_contiguous();
  if (!in_bfloat16) {
    sum.add_(term);
    return;
  }
  const auto* from = reinterpret_cast<const uint16_t*>(term.const_data_ptr<at::BFloat16>());
  auto* to = sum.mutable_data_ptr<float>();
  at::parallel_for(0, term.numel(), 1 << 15, [&](int64_t begin, int64_t end) {
    kernels().bfloat16.accumulate(from + begin, end - begin, to + begin);
  });
}

}  // namespace bitsmith
