// The search for codes in plain tensor operations: any device, and the reference in tests.
#pragma once
#include <functional>

#include "compressor/representation/term.h"
#include "compressor/torch.h"

namespace bitsmith {

// By every objective the cost of giving code groups the values p is p^T B p - 2 linear^T p plus
// what does not depend on p. Best codes [n, M] for `code_groups` [n] that minimize it (or the
// present codes, if nothing is better); linear [n, g], sub_hessian B [g, g].
using CodeGroupSearchReference =
    std::function<torch::Tensor(const torch::Tensor& code_groups, const torch::Tensor& linear,
                                const torch::Tensor& sub_hessian, const torch::Tensor& present)>;

// CodedTerm::search_codes, one code column after another.
torch::Tensor search_codes_reference(const CodedTerm& term, const torch::Tensor& target,
                                     const Objective& objective, const torch::Tensor& code_groups,
                                     const CodeGroupSearchReference& search);

// CodedTerm::search_neighbors by trying all codes: 0 .. codebook_size - 1 in each place.
torch::Tensor search_neighbors_reference(const CodedTerm& term, int64_t codebook_size,
                                         const torch::Tensor& target, const torch::Tensor& codes,
                                         const torch::Tensor& code_groups);

// uniform: scales and zeros [out, in / G]; additive: as in additive_dequantize.h; gvq: as in
// gvq_dequantize.h; e8p: scales [out, stages].
torch::Tensor search_uniform_reference(const CodedTerm& term, int nbits,
                                       const torch::Tensor& scales, const torch::Tensor& zeros,
                                       const torch::Tensor& target, const Objective& objective,
                                       const torch::Tensor& code_groups);
torch::Tensor search_additive_reference(const CodedTerm& term, const torch::Tensor& codebooks,
                                        const torch::Tensor& scales, const torch::Tensor& target,
                                        const Objective& objective,
                                        const torch::Tensor& code_groups);
torch::Tensor search_gvq_reference(const CodedTerm& term, const GvqLayout& layout,
                                   const torch::Tensor& centroids,
                                   const torch::Tensor& block_scales, const torch::Tensor& target,
                                   const Objective& objective, const torch::Tensor& code_groups);
torch::Tensor search_e8p_reference(const CodedTerm& term, const E8pSpec& spec,
                                   const torch::Tensor& scales, const torch::Tensor& target,
                                   const Objective& objective, const torch::Tensor& code_groups);
// As search_neighbors_reference(), all points of a stage at once.
torch::Tensor search_e8p_neighbors_reference(const CodedTerm& term, const E8pSpec& spec,
                                             const torch::Tensor& scales,
                                             const torch::Tensor& target,
                                             const torch::Tensor& codes,
                                             const torch::Tensor& code_groups);

}  // namespace bitsmith
