// The one-shot quantizers behind quantize_linear(). weight [out, in] and the objective's tensors
// are float32, contiguous and finite, and there is no shift; the representation comes back
// projected.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "compressor/quantize/quantizer.h"
#include "compressor/torch.h"

namespace bitsmith {

// Each kind with codes has two overloads. round_to_nearest: codes without data (rtn). one_shot: the
// kind's method, which lowers the objective and reports its stages. A full output factor makes it
// slower: rows are searched in turn.

// Each group's best grid.
std::unique_ptr<CodedTerm> round_to_nearest(const torch::Tensor& weight, const UniformSpec& spec,
                                            const QuantizeOptions& options);
// GPTQ (Frantar et al. 2022): columns in turn, each one's rounding error spread over the columns
// that follow; with a full output factor over the rows that follow too (YAQA, Tseng et al. 2025).
// Then rounds of codes and grids on the whole matrix (coordinate descent, as QuantEase: Behdin et
// al. 2023).
std::unique_ptr<CodedTerm> one_shot(const torch::Tensor& weight, const Objective& objective,
                                    const UniformSpec& spec, const QuantizeOptions& options,
                                    std::vector<StageReport>& stages);

// k-means.
std::unique_ptr<CodedTerm> round_to_nearest(const torch::Tensor& weight, const AdditiveSpec& spec,
                                            const QuantizeOptions& options);
// AQLM (Egiazarian et al. 2024). max_rounds 0 stops after the start; it knows of a full output
// factor its diagonal only: Error.
std::unique_ptr<CodedTerm> one_shot(const torch::Tensor& weight, const Objective& objective,
                                    const AdditiveSpec& spec, const QuantizeOptions& options,
                                    std::vector<StageReport>& stages);

// Weighted k-means in each tile.
std::unique_ptr<CodedTerm> round_to_nearest(const torch::Tensor& weight, const GvqSpec& spec,
                                            const QuantizeOptions& options);
// GPTVQ (van Baalen et al. 2024), in its exact form: each vector's sub-Hessian and error are those
// of its whole diagonal block of the factor. The sweep knows of a full output factor its diagonal
// only, the rounds after it all: Error where there are none (options.codebook_update, max_rounds).
std::unique_ptr<CodedTerm> one_shot(const torch::Tensor& weight, const Objective& objective,
                                    const GvqSpec& spec, const QuantizeOptions& options,
                                    std::vector<StageReport>& stages);

// Each group's nearest point, rows' scales by a search.
std::unique_ptr<CodedTerm> round_to_nearest(const torch::Tensor& weight, const E8pSpec& spec,
                                            const QuantizeOptions& options);
// BlockLDLQ (QuIP#, Tseng et al. 2024), each group in its sub-Hessian; then rounds of scales and
// codes. The sweep knows of a full output factor its diagonal only: Error where max_rounds is 0.
std::unique_ptr<CodedTerm> one_shot(const torch::Tensor& weight, const Objective& objective,
                                    const E8pSpec& spec, const QuantizeOptions& options,
                                    std::vector<StageReport>& stages);

// What keeps one_shot() from using a full output factor, see quantizer.h.
std::string output_factor_obstacle(const UniformSpec& spec, const QuantizeOptions& options);
std::string output_factor_obstacle(const AdditiveSpec& spec, const QuantizeOptions& options);
std::string output_factor_obstacle(const GvqSpec& spec, const QuantizeOptions& options);
std::string output_factor_obstacle(const E8pSpec& spec, const QuantizeOptions& options);

// Whether one_shot() feeds errors back from row to row.
constexpr bool feeds_rows_back(const UniformSpec&) { return true; }
constexpr bool feeds_rows_back(const AdditiveSpec&) { return false; }
constexpr bool feeds_rows_back(const GvqSpec&) { return false; }
constexpr bool feeds_rows_back(const E8pSpec&) { return false; }

// The method that one_shot() is.
constexpr Method method_of(const UniformSpec&) { return Method::kGptq; }
constexpr Method method_of(const AdditiveSpec&) { return Method::kAqlm; }
constexpr Method method_of(const GvqSpec&) { return Method::kGptvq; }
constexpr Method method_of(const E8pSpec&) { return Method::kLdlq; }

}  // namespace bitsmith
