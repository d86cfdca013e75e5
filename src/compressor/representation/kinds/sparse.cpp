#include "compressor/representation/kinds/sparse.h"

#include "base/error.h"
#include "compressor/representation/format_parts.h"
#include "compressor/representation/kinds/kinds.h"

namespace bitsmith {

SparseTerm::SparseTerm(const torch::Tensor& places, const torch::Tensor& values,
                       int64_t out_features, int64_t in_features)
    : Term(SparseSpec{.share = 0, .count = places.numel()}, out_features, in_features),
      places_(places.to(torch::kLong).contiguous()),
      values_(values.detach().to(torch::kFloat).contiguous().clone().requires_grad_(true)) {
  BITSMITH_CHECK(places_.dim() == 1 && places_.sizes() == values_.sizes());
}

torch::Tensor SparseTerm::dequantize() const {
  return torch::zeros({out_features_ * in_features_}, values_.options().requires_grad(false))
      .index_put({places_}, values_)
      .reshape({out_features_, in_features_});
}

void SparseTerm::project() {
  const torch::NoGradGuard no_grad;
  values_.copy_(round_to_fp16(values_));
}

void SparseTerm::store(const QuantizedTensor& tensor) const {
  const auto places = places_.to(torch::kCPU);
  const auto values = values_.detach().to(torch::kCPU);
  const auto* place = places.const_data_ptr<int64_t>();
  SparseEntries entries;
  entries.row_starts.assign(static_cast<size_t>(out_features_ + 1), 0);
  for (int64_t i = 0; i < places.numel(); ++i) {
    ++entries.row_starts[static_cast<size_t>(place[i] / in_features_ + 1)];
    entries.columns.push_back(static_cast<int32_t>(place[i] % in_features_));
    entries.values.push_back(values.const_data_ptr<float>()[i]);
  }
  for (size_t row = 1; row < entries.row_starts.size(); ++row) {
    entries.row_starts[row] += entries.row_starts[row - 1];
  }
  write_sparse(tensor, entries);
}

std::unique_ptr<Term> make_term(const SparseSpec&, const QuantizedTensor& tensor) {
  const SparseEntries entries = read_sparse(tensor);
  std::vector<int64_t> places;
  for (int64_t row = 0; row < tensor.out_features; ++row) {
    for (int64_t i = entries.row_starts[row]; i < entries.row_starts[row + 1]; ++i) {
      places.push_back(row * tensor.in_features + entries.columns[static_cast<size_t>(i)]);
    }
  }
  return std::make_unique<SparseTerm>(torch::tensor(places, torch::kLong),
                                      torch::tensor(entries.values), tensor.out_features,
                                      tensor.in_features);
}

}  // namespace bitsmith
