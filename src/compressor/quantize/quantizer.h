// [4] One-shot quantization of one matrix: weight [out, in] and Hessian [in, in] -> Representation.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "compressor/quantize/quantize_options.h"
#include "compressor/representation/representation.h"
#include "compressor/torch.h"

namespace bitsmith {

// One stage's objective tr((W-Q) H (W-Q)^T) / tr(W H W^T) at its end. Never rises within a layer.
struct StageReport {
  std::string stage;  // "start", "round 3 codes", "round 3 codebooks", ...
  double relative_error;
  double seconds;
};

struct QuantizedLayer {
  std::unique_ptr<Representation> representation;  // projected: what the file will hold
  double relative_error =
      0;  // undamped Hessian; the squared Frobenius norm ratio when there is none
  double seconds = 0;
  std::vector<StageReport> stages;
};

// weight [out, in] float32, hessian [in, in] float32 = 2/n sum x x^T (undefined: identity; RTN
// ignores it in its codes). NaN or Inf in either throws Error, options.cancel Interrupted.
// Deterministic for a seed; thread count changes nothing.
QuantizedLayer quantize_layer(const torch::Tensor& weight, const torch::Tensor& hessian,
                              const RepresentationSpec& spec, const QuantizeOptions& options);

// tr(D H D^T) / tr(W H W^T) with D = weight - quantized, in float64 sums.
double relative_error(const torch::Tensor& weight, const torch::Tensor& quantized,
                      const torch::Tensor& hessian);

}  // namespace bitsmith
