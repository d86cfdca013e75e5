#include <algorithm>

#include "base/error.h"
#include "compressor/representation/code_group_walk.h"

namespace bitsmith {
namespace {

class ErrorFeedback final : CodeGroupWalk {
 public:
  ErrorFeedback(CodeGroupSearch& search, const torch::Tensor& codes, const torch::Tensor& target,
                const torch::Tensor& factor)
      : CodeGroupWalk(search, target.size(0), target.size(1), codes, {}),
        factor_(factor.contiguous()),
        wanted_(target.contiguous().clone()) {
    BITSMITH_CHECK(wanted_.scalar_type() == torch::kFloat);
    const auto diagonal =
        factor_.reshape({per_row_, g_, per_row_, g_}).diagonal(0, 0, 2).permute({2, 0, 1});
    const auto inverse = torch::linalg_inv(diagonal.to(torch::kDouble));
    inverse_ = inverse.to(torch::kFloat).contiguous();
    sub_hessians_ = torch::bmm(inverse, inverse.transpose(1, 2)).to(torch::kFloat).contiguous();
  }

  torch::Tensor run() {
    each_task([&](int64_t task, int64_t begin, int64_t end) { sweep(task, begin, end); });
    return result_;
  }

 private:
  void sub_hessian(int64_t j, float* values) const override {
    std::copy_n(sub_hessians_.const_data_ptr<float>() + j * g_ * g_, g_ * g_, values);
  }

  // The moves are errors over the factor's diagonal block.
  void sweep(int64_t task, int64_t begin, int64_t end) {
    const torch::NoGradGuard no_grad;  // each thread has its own flag
    const auto moves = search_panel(
        task, begin, end, wanted_, factor_,
        [&](int64_t j, int64_t count, Batch& batch) {
          std::fill_n(batch.linear.begin(), count * g_, 0.0f);
          add_products(sub_hessians_.const_data_ptr<float>() + j * g_ * g_, g_, count,
                       batch.own.data(), batch.linear.data());
        },
        [&](int64_t j, const float* wanted, const float*, const float* after, float* move) {
          const float* inverse = inverse_.const_data_ptr<float>() + j * g_ * g_;
          for (int64_t a = 0; a < g_; ++a) {
            const float difference = wanted[a] - after[a];
            for (int64_t b = 0; b < g_; ++b) move[b] += difference * inverse[a * g_ + b];
          }
          return true;
        });
    carry_beyond(end * g_, moves, factor_, task_rows(wanted_, task));
  }

  torch::Tensor factor_;  // U, H^-1 = U^T U
  torch::Tensor wanted_;  // [out, in] what weights should be after the errors before them
  torch::Tensor inverse_, sub_hessians_;  // [per_row, g, g]: U_jj^-1 and U_jj^-1 U_jj^-T
};

}  // namespace

torch::Tensor search_with_feedback(CodeGroupSearch& search, const torch::Tensor& codes,
                                   const torch::Tensor& target, const torch::Tensor& factor) {
  const torch::NoGradGuard no_grad;
  return ErrorFeedback(search, codes, target, factor).run();
}

}  // namespace bitsmith
