// The one-shot quantizers behind quantize_layer(). weight [out, in] and hessian [in, in] are
// float32, contiguous and finite; the representation comes back projected.
#pragma once
#include <memory>
#include <vector>

#include "compressor/quantize/quantizer.h"
#include "compressor/torch.h"

namespace bitsmith {

// Each kind with codes has two overloads. round_to_nearest: codes without data (rtn). one_shot: the
// kind's method, with the Hessian of the layer's inputs (undefined: identity); it reports its
// stages.

// Each group's best grid.
std::unique_ptr<CodedTerm> round_to_nearest(const torch::Tensor& weight, const UniformSpec& spec,
                                            const QuantizeOptions& options);
// GPTQ (Frantar et al. 2022): columns in turn, each one's rounding error spread over the columns
// that follow.
std::unique_ptr<CodedTerm> one_shot(const torch::Tensor& weight, const torch::Tensor& hessian,
                                    const UniformSpec& spec, const QuantizeOptions& options,
                                    std::vector<StageReport>& stages);

// k-means.
std::unique_ptr<CodedTerm> round_to_nearest(const torch::Tensor& weight, const AdditiveSpec& spec,
                                            const QuantizeOptions& options);
// AQLM (Egiazarian et al. 2024). max_rounds 0 stops after the start.
std::unique_ptr<CodedTerm> one_shot(const torch::Tensor& weight, const torch::Tensor& hessian,
                                    const AdditiveSpec& spec, const QuantizeOptions& options,
                                    std::vector<StageReport>& stages);

// Weighted k-means in each tile.
std::unique_ptr<CodedTerm> round_to_nearest(const torch::Tensor& weight, const GvqSpec& spec,
                                            const QuantizeOptions& options);
// GPTVQ (van Baalen et al. 2024), in its exact form: each vector's metric and error are those of
// its whole block of the factor.
std::unique_ptr<CodedTerm> one_shot(const torch::Tensor& weight, const torch::Tensor& hessian,
                                    const GvqSpec& spec, const QuantizeOptions& options,
                                    std::vector<StageReport>& stages);

// The method that one_shot() is.
constexpr Method method_of(const UniformSpec&) { return Method::kGptq; }
constexpr Method method_of(const AdditiveSpec&) { return Method::kAqlm; }
constexpr Method method_of(const GvqSpec&) { return Method::kGptvq; }

}  // namespace bitsmith
