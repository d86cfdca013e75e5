#include "runtime/matrices/weight_matrix.h"

#include "base/error.h"
#include "kernels/kernel_table.h"
#include "runtime/matrices/matrices.h"

namespace bitsmith {

void WeightMatrix::add_product(Products products, const float* x, int64_t tokens, float* y,
                               ThreadPool& pool) {
  std::vector<float> product(static_cast<size_t>(tokens * out_features));
  multiply(products, x, tokens, product.data(), pool);
  for (size_t i = 0; i < product.size(); ++i) y[i] += product[i];
}

std::unique_ptr<WeightMatrix> make_matrix(const AdditiveSpec& spec, const QuantizedTensor& tensor,
                                          const MatrixArrays& arrays) {
  // A table is built for every 256 centroids and looked up once a row: not for few rows, and
  // what is looked up is added as it is, without scales of its own.
  constexpr int64_t kLookupMinRows = 64;
  const bool tables = kernels().lookup.in_registers && tensor.out_features >= kLookupMinRows &&
                      spec.nbits_per_codebook <= 8 && spec.scale_bits == 0;
  return tables ? make_lookup_matrix(tensor, arrays) : make_gather_matrix(tensor, arrays);
}

std::unique_ptr<WeightMatrix> make_matrix(const GvqSpec&, const QuantizedTensor& tensor,
                                          const MatrixArrays& arrays) {
  if (gvq_bundles_fit(tensor)) return make_gvq_bundle_matrix(tensor, arrays);
  return gvq_lookup_fits(tensor) ? make_gvq_lookup_matrix(tensor, arrays)
                                 : make_gvq_matrix(tensor, arrays);
}

std::unique_ptr<WeightMatrix> make_quantized_matrix(const QuantizedTensor& tensor,
                                                    const MatrixArrays& arrays) {
  std::vector<std::unique_ptr<WeightMatrix>> terms;
  for (const TermSpec& term : tensor.spec.terms) {
    terms.push_back(
        std::visit([&](const auto& s) { return make_matrix(s, tensor, arrays); }, term));
  }
  auto sum = make_sum_matrix(std::move(terms));
  return tensor.spec.transform ? make_rotated_matrix(std::move(sum), tensor, arrays)
                               : std::move(sum);
}

std::unique_ptr<WeightMatrix> make_quantized_matrix(const QuantizedTensor& tensor) {
  NewArrays arrays;
  return make_quantized_matrix(tensor, {arrays, "matrix"});
}

std::unique_ptr<WeightMatrix> make_dense_matrix(int64_t out_features, int64_t in_features,
                                                bool as_bfloat16, const ReadRows& read_rows) {
  NewArrays arrays;
  return make_dense_matrix(out_features, in_features, as_bfloat16, {arrays, "matrix"}, read_rows);
}

}  // namespace bitsmith
