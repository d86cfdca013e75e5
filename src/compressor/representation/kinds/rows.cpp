#include "compressor/representation/kinds/rows.h"

#include "base/error.h"
#include "compressor/representation/format_parts.h"
#include "compressor/representation/kinds/kinds.h"

namespace bitsmith {

RowsTerm::RowsTerm(const torch::Tensor& rows, const torch::Tensor& values, int64_t out_features)
    : Term(RowsSpec{.count = rows.numel()}, out_features, values.size(1)),
      rows_(rows.to(torch::kLong).contiguous()),
      values_(values.detach().to(torch::kFloat).contiguous().clone().requires_grad_(true)) {
  BITSMITH_CHECK(rows_.dim() == 1 && rows_.size(0) == values_.size(0));
}

torch::Tensor RowsTerm::dequantize() const {
  return torch::zeros({out_features_, in_features_}, values_.options().requires_grad(false))
      .index_put({rows_}, values_);
}

void RowsTerm::project() {
  const torch::NoGradGuard no_grad;
  values_.copy_(round_to_fp16(values_));
}

void RowsTerm::store(const QuantizedTensor& tensor) const {
  const auto rows = rows_.to(torch::kCPU);
  write_kept_rows(tensor, {rows.const_data_ptr<int64_t>(), static_cast<size_t>(rows.numel())});
  write_fp16_part(tensor, "kept_values", values_);
}

std::unique_ptr<Term> make_term(const RowsSpec& spec, const QuantizedTensor& tensor) {
  return std::make_unique<RowsTerm>(
      torch::tensor(read_kept_rows(tensor), torch::kLong),
      read_fp16_part(tensor, "kept_values", {spec.count, tensor.in_features}), tensor.out_features);
}

}  // namespace bitsmith
