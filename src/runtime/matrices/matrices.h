// The kinds of weight matrix behind weight_matrix.h; each lays out what it is given in arrays and
// chooses kernels from the table.
#pragma once
#include <memory>
#include <vector>

#include "runtime/matrices/weight_matrix.h"

namespace bitsmith {

// The runtime's half of each kind (format/kinds/kinds.h): the matrix for this processor.
std::unique_ptr<WeightMatrix> make_matrix(const UniformSpec& spec, const QuantizedTensor& tensor,
                                          const MatrixArrays& arrays);
std::unique_ptr<WeightMatrix> make_matrix(const AdditiveSpec& spec, const QuantizedTensor& tensor,
                                          const MatrixArrays& arrays);
std::unique_ptr<WeightMatrix> make_matrix(const GvqSpec& spec, const QuantizedTensor& tensor,
                                          const MatrixArrays& arrays);
std::unique_ptr<WeightMatrix> make_matrix(const E8pSpec& spec, const QuantizedTensor& tensor,
                                          const MatrixArrays& arrays);
std::unique_ptr<WeightMatrix> make_matrix(const SparseSpec& spec, const QuantizedTensor& tensor,
                                          const MatrixArrays& arrays);
std::unique_ptr<WeightMatrix> make_matrix(const LowRankSpec& spec, const QuantizedTensor& tensor,
                                          const MatrixArrays& arrays);
std::unique_ptr<WeightMatrix> make_matrix(const RowsSpec& spec, const QuantizedTensor& tensor,
                                          const MatrixArrays& arrays);
// The sum of matrices of one shape; one alone is given back.
std::unique_ptr<WeightMatrix> make_sum_matrix(std::vector<std::unique_ptr<WeightMatrix>> terms);
// `inner` inside the tensor's rotation.
std::unique_ptr<WeightMatrix> make_rotated_matrix(std::unique_ptr<WeightMatrix> inner,
                                                  const QuantizedTensor& tensor,
                                                  const MatrixArrays& arrays);

// Codes of at most 8 bits on processors with byte permutes (AVX-512 VBMI, NEON).
std::unique_ptr<WeightMatrix> make_lookup_matrix(const QuantizedTensor& tensor,
                                                 const MatrixArrays& arrays);
// Additive codes of any size.
std::unique_ptr<WeightMatrix> make_gather_matrix(const QuantizedTensor& tensor,
                                                 const MatrixArrays& arrays);
std::unique_ptr<WeightMatrix> make_gvq_matrix(const QuantizedTensor& tensor,
                                              const MatrixArrays& arrays);
// Codebook tiles of int8 values where this processor looks them up in registers, rows fall into
// bundles and scales into units of 32 inputs.
bool gvq_bundles_fit(const QuantizedTensor& tensor);
std::unique_ptr<WeightMatrix> make_gvq_bundle_matrix(const QuantizedTensor& tensor,
                                                     const MatrixArrays& arrays);
// Others where this processor can look them up by byte and rows fall into blocks.
bool gvq_lookup_fits(const QuantizedTensor& tensor);
std::unique_ptr<WeightMatrix> make_gvq_lookup_matrix(const QuantizedTensor& tensor,
                                                     const MatrixArrays& arrays);

}  // namespace bitsmith
