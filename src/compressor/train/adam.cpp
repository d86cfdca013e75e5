#include "compressor/train/adam.h"

#include <ATen/Parallel.h>

#include <cmath>

namespace bitsmith {
namespace {

// One pass over memory: moments in, moments and direction out.
template <typename T>
void adam_pass(const float* g, T* m, T* v, float* out, int64_t n, const AdamOptions& o,
               float debias1, float debias2) {
  const float b1 = static_cast<float>(o.beta1), b2 = static_cast<float>(o.beta2);
  const float epsilon = static_cast<float>(o.epsilon);
  at::parallel_for(0, n, 1 << 15, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float first = b1 * static_cast<float>(m[i]) + (1 - b1) * g[i];
      const float second = b2 * static_cast<float>(v[i]) + (1 - b2) * g[i] * g[i];
      m[i] = static_cast<T>(first);
      v[i] = static_cast<T>(second);
      out[i] = first * debias1 / (std::sqrt(second * debias2) + epsilon);
    }
  });
}

}  // namespace

torch::Tensor AdamState::direction(const torch::Tensor& gradient, int64_t step,
                                   torch::Dtype storage, const AdamOptions& options) {
  const torch::NoGradGuard no_grad;
  const auto g = gradient.contiguous();
  if (!first.defined()) {
    first = torch::zeros(g.sizes(), storage);
    second = torch::zeros(g.sizes(), storage);
  }
  auto out = torch::empty_like(g);
  const auto debias1 = static_cast<float>(1 / (1 - std::pow(options.beta1, step)));
  const auto debias2 = static_cast<float>(1 / (1 - std::pow(options.beta2, step)));
  const auto pass = [&]<typename T>(T*) {
    adam_pass(g.const_data_ptr<float>(), first.data_ptr<T>(), second.data_ptr<T>(),
              out.data_ptr<float>(), g.numel(), options, debias1, debias2);
  };
  if (storage == torch::kBFloat16) {
    pass(static_cast<at::BFloat16*>(nullptr));
  } else {
    pass(static_cast<float*>(nullptr));
  }
  return out;
}

void AdamState::shrink_momentum(const torch::Tensor& rows, int64_t row_size, double share) {
  const torch::NoGradGuard no_grad;
  auto grouped = first.view({-1, row_size});
  grouped.index_copy_(0, rows, grouped.index_select(0, rows).mul_(share));
}

}  // namespace bitsmith
