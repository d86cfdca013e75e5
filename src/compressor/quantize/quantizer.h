// [4] One-shot quantization of one matrix: weight [out, in] and Objective -> Representation.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "compressor/objective/objective.h"
#include "compressor/quantize/quantize_options.h"
#include "compressor/representation/representation.h"
#include "compressor/torch.h"

namespace bitsmith {

// One stage's error tr(G (T-Q) H (T-Q)^T) / tr(G T H T^T) at its end. Never rises within a matrix.
struct StageReport {
  std::string stage;  // "start", "round 3 codes", "round 3 codebooks", ...
  double relative_error;
  double seconds;
};

struct QuantizedLinear {
  std::unique_ptr<Representation> representation;  // projected: what the file will hold
  double relative_error = 0;  // by the objective as it was given: H undamped, G whole
  double seconds = 0;
  std::vector<StageReport> stages;
};

// weight [out, in] float32; an objective with a full Hessian or none. RTN is nearest to the
// weights: it ignores the objective in its codes, and the shift in its error. NaN or Inf anywhere,
// or sizes that do not fit, throw Error, options.cancel Interrupted. Deterministic for a seed;
// thread count changes nothing.
QuantizedLinear quantize_linear(const torch::Tensor& weight, const Objective& objective,
                                const RepresentationSpec& spec, const QuantizeOptions& options);

// Interrupted where `cancel` is raised; null never is.
void check_cancelled(const CancelFlag* cancel);

// What keeps the default method and the corrections of `spec` from using a full output factor under
// these options, as a sentence; empty where nothing does.
std::string output_factor_obstacle(const RepresentationSpec& spec, const QuantizeOptions& options);
// Whether that method's sweep feeds errors back from row to row, which takes one thread; rounds of
// searches and solves meet a full output factor in all of them.
bool feeds_rows_back(const RepresentationSpec& spec);

// tr(G D H D^T) / tr(G T H T^T) with T the target and D = T - quantized, in float64 sums.
double relative_error(const torch::Tensor& weight, const torch::Tensor& quantized,
                      const Objective& objective);

}  // namespace bitsmith
