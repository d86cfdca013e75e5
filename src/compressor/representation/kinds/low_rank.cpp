#include "compressor/representation/kinds/low_rank.h"

#include "base/error.h"
#include "compressor/representation/format_parts.h"
#include "compressor/representation/kinds/kinds.h"

namespace bitsmith {
namespace {

torch::Tensor leaf(const torch::Tensor& values) {
  return values.detach().to(torch::kFloat).contiguous().clone().requires_grad_(true);
}

}  // namespace

LowRankTerm::LowRankTerm(const torch::Tensor& left, const torch::Tensor& right)
    : Term(LowRankSpec{.rank = static_cast<int>(left.size(1))}, left.size(0), right.size(1)),
      left_(leaf(left)),
      right_(leaf(right)) {
  BITSMITH_CHECK(left.size(1) == right.size(0));
}

// Rank by rank, as the file's reference decode: the same sums in the same order.
torch::Tensor LowRankTerm::dequantize() const {
  if (left_.requires_grad() && torch::GradMode::is_enabled()) return torch::mm(left_, right_);
  auto sum = torch::zeros({out_features_, in_features_}, left_.options().requires_grad(false));
  for (int64_t k = 0; k < left_.size(1); ++k) {
    sum += left_.select(1, k).unsqueeze(1) * right_.select(0, k);
  }
  return sum;
}

void LowRankTerm::project() {
  const torch::NoGradGuard no_grad;
  left_.copy_(round_to_fp16(left_));
  right_.copy_(round_to_fp16(right_));
}

void LowRankTerm::store(const QuantizedTensor& tensor) const {
  write_fp16_part(tensor, "low_rank_left", left_);
  write_fp16_part(tensor, "low_rank_right", right_);
}

std::unique_ptr<Term> make_term(const LowRankSpec& spec, const QuantizedTensor& tensor) {
  return std::make_unique<LowRankTerm>(
      read_fp16_part(tensor, "low_rank_left", {tensor.out_features, spec.rank}),
      read_fp16_part(tensor, "low_rank_right", {spec.rank, tensor.in_features}));
}

}  // namespace bitsmith
