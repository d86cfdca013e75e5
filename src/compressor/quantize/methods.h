// The one-shot quantizers behind quantize_layer(). weight [out, in] and hessian [in, in] are
// float32, contiguous and finite; the representation comes back projected.
#pragma once
#include <memory>
#include <vector>

#include "compressor/quantize/quantizer.h"
#include "compressor/torch.h"

namespace bitsmith {

// Round to nearest: each group's best grid, no Hessian.
std::unique_ptr<Representation> rtn(const torch::Tensor& weight, const UniformSpec& spec);

// Columns in turn, each one's rounding error spread over the columns that follow (Frantar et al.
// 2022).
std::unique_ptr<Representation> gptq(const torch::Tensor& weight, const torch::Tensor& hessian,
                                     const UniformSpec& spec, const QuantizeOptions& options);

// Additive quantization (Egiazarian et al. 2024). An undefined hessian: identity. max_rounds 0
// stops after the start.
std::unique_ptr<Representation> aqlm(const torch::Tensor& weight, const torch::Tensor& hessian,
                                     const AdditiveSpec& spec, const QuantizeOptions& options,
                                     std::vector<StageReport>& stages);

// Vector quantization with error feedback (van Baalen et al. 2024), in its exact form: each
// vector's metric and error are those of its whole block of the factor. An undefined hessian:
// identity.
std::unique_ptr<Representation> gptvq(const torch::Tensor& weight, const torch::Tensor& hessian,
                                      const GroupedSpec& spec, const QuantizeOptions& options,
                                      std::vector<StageReport>& stages);

}  // namespace bitsmith
