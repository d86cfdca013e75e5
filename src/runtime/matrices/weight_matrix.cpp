#include "runtime/matrices/weight_matrix.h"

#include "base/error.h"
#include "kernels/cpu_features.h"
#include "runtime/matrices/matrices.h"

namespace bitsmith {

void WeightMatrix::add_product(Products products, const float* x, int64_t tokens, float* y,
                               ThreadPool& pool) {
  std::vector<float> product(static_cast<size_t>(tokens * out_features));
  multiply(products, x, tokens, product.data(), pool);
  for (size_t i = 0; i < product.size(); ++i) y[i] += product[i];
}

std::unique_ptr<WeightMatrix> make_matrix(const UniformSpec&, const QuantizedTensor& tensor) {
  return make_uniform_matrix(tensor);
}

std::unique_ptr<WeightMatrix> make_matrix(const AdditiveSpec& spec, const QuantizedTensor& tensor) {
  // A table is built for every 256 centroids and looked up once a row: not for few rows, and
  // what is looked up is added as it is, without scales of its own.
  constexpr int64_t kLookupMinRows = 64;
  const bool tables = selected_isa() == Isa::avx512 && tensor.out_features >= kLookupMinRows &&
                      spec.nbits_per_codebook <= 8 && spec.scale_bits == 0;
  return tables ? make_lookup_matrix(tensor) : make_gather_matrix(tensor);
}

std::unique_ptr<WeightMatrix> make_matrix(const GvqSpec&, const QuantizedTensor& tensor) {
  return gvq_lookup_fits(tensor) ? make_gvq_lookup_matrix(tensor) : make_gvq_matrix(tensor);
}

std::unique_ptr<WeightMatrix> make_quantized_matrix(const QuantizedTensor& tensor) {
  std::vector<std::unique_ptr<WeightMatrix>> terms;
  for (const TermSpec& term : tensor.spec.terms) {
    terms.push_back(std::visit([&](const auto& s) { return make_matrix(s, tensor); }, term));
  }
  auto sum = make_sum_matrix(std::move(terms));
  return tensor.spec.transform ? make_rotated_matrix(std::move(sum), tensor) : std::move(sum);
}

}  // namespace bitsmith
