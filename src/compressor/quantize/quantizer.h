// [4] One-shot quantization of one matrix: weight [out, in] and Objective -> Representation.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compressor/objective/objective.h"
#include "compressor/representation/representation.h"
#include "compressor/torch.h"

namespace bitsmith {

// RTN: nearest codes, no data. GPTQ: Frantar et al. 2022. AQLM: Egiazarian et al. 2024. GPTVQ: van
// Baalen et al. 2024.
enum class Method { kRtn, kGptq, kAqlm, kGptvq };

// Default: gptq for int*, aqlm for aq*, gptvq for gvq*. Throws UsageError for unknown names and for
// methods that the representation cannot use (gptq with aq*, aqlm with int*, ...).
Method parse_method(const std::string& name, const RepresentationSpec& spec);
Method default_method(const RepresentationSpec& spec);
const char* method_name(Method method);

// Where GPTVQ's codebooks begin. Best: scalars by exact weighted k-means, vectors by k-means++.
// Mahalanobis (the paper's): points at even ranks of their distance from the mean. Quantiles:
// points at even ranks of their first value.
enum class CodebookInit { kBest, kPlusPlus, kMahalanobis, kQuantiles };
CodebookInit parse_codebook_init(const std::string& name);  // UsageError names the choices
const char* codebook_init_name(CodebookInit init);

// Which weights are kept in 16 bits where a representation has outliers. Magnitude: the largest.
// Saliency: those whose rounding costs most, the others free to make it good (SpQR). ADMM: those of
// the best sparse approximation of what the codes leave (PV-Tuning, appendix J).
enum class OutlierChoice { kMagnitude, kSaliency, kAdmm };
OutlierChoice parse_outlier_choice(const std::string& name);  // UsageError names the choices
const char* outlier_choice_name(OutlierChoice choice);

struct QuantizeOptions {
  Method method = Method::kAqlm;
  uint64_t seed = 0;
  double damping =
      0.01;  // added to the Hessian's diagonal, in units of its mean; doubled on failure
  bool act_order = false;   // GPTQ: columns in order of falling diagonal, groups kept
  int max_rounds = 16;      // AQLM, GPTVQ: rounds of code search + codebook update
  double tolerance = 0.01;  // of these: stop when a round lowers the error by less than this share
  int kmeans_iterations = 30;  // AQLM's start
  int beam = 0;                // AQLM: width of a beam search; 0: pairs of codebooks jointly
  CodebookInit codebook_init = CodebookInit::kBest;  // GPTVQ
  int em_iterations = 30;       // GPTVQ: of a codebook's start, until no assignment changes
  int feedback_rounds = 2;      // GPTVQ: codebooks refitted to the codes of a sweep, a column group
  bool codebook_update = true;  // GPTVQ: rounds of codebooks and codes on the whole matrix
  OutlierChoice outliers = OutlierChoice::kSaliency;
  int sum_rounds = 2;  // sums: times the term with codes is made, each for what the others spare
  bool corrections_first =
      false;  // sums: before the first round the others are fitted to the weights
};

// One stage's objective tr(G (T-Q) H (T-Q)^T) / tr(G T H T^T) at its end. Never rises within a
// layer.
struct StageReport {
  std::string stage;  // "start", "round 3 codes", "round 3 codebooks", ...
  double relative_error;
  double seconds;
};

struct QuantizedLayer {
  std::unique_ptr<Representation> representation;  // projected: what the file will hold
  double relative_error = 0;  // by the objective as it was given: H undamped, G whole
  double seconds = 0;
  std::vector<StageReport> stages;
};

// weight [out, in] float32; an objective with a full Hessian or none. RTN is nearest to the
// weights: it ignores the objective in its codes, and the shift in its error. NaN or Inf anywhere,
// or sizes that do not fit, throw Error. Deterministic for a seed; thread count changes nothing.
QuantizedLayer quantize_layer(const torch::Tensor& weight, const Objective& objective,
                              const RepresentationSpec& spec, const QuantizeOptions& options);

// tr(G D H D^T) / tr(G T H T^T) with T the target and D = T - quantized, in float64 sums.
double relative_error(const torch::Tensor& weight, const torch::Tensor& quantized,
                      const Objective& objective);

}  // namespace bitsmith
