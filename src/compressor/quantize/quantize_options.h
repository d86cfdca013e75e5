// What one-shot quantization of a matrix is asked to do. No LibTorch here.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/options.h"
#include "base/run_context.h"
#include "format/representation_spec.h"

namespace bitsmith {

// RTN: nearest codes, no data. GPTQ: Frantar et al. 2022. AQLM: Egiazarian et al. 2024. GPTVQ: van
// Baalen et al. 2024. LDLQ: QuIP#, Tseng et al. 2024.
enum class Method { kRtn, kGptq, kAqlm, kGptvq, kLdlq };

// UsageError for unknown names.
Method parse_method(const std::string& name);
// Throws UsageError for a method that the representation cannot use (gptq with aq*, aqlm with int*,
// ...).
void check_method(Method method, const RepresentationSpec& spec);
// Of the kind of the representation's codes; never RTN.
Method default_method(const RepresentationSpec& spec);
const char* method_name(Method method);
// "rtn: ...; gptq: for int*; ...", from the list of kinds.
std::string methods_help();

// Where GPTVQ's codebooks begin. Best: scalars by exact weighted k-means, vectors by k-means++.
// Mahalanobis (the paper's): points at even ranks of their distance from the mean. Quantiles:
// points at even ranks of their first value.
enum class CodebookInit { kBest, kPlusPlus, kMahalanobis, kQuantiles };

// Which weights are kept in 16 bits where a representation has outliers. Magnitude: the largest.
// Saliency: those whose rounding costs most, the others free to make it good (SpQR). ADMM: those of
// the best sparse approximation of what the codes leave (PV-Tuning, appendix J).
enum class OutlierChoice { kMagnitude, kSaliency, kAdmm };

// How options are written; parse_option() throws UsageError that names the choices.
std::string option_text(const RepresentationSpec& spec);
void parse_option(const std::string& text, RepresentationSpec& spec);
std::string option_text(const std::optional<Method>& method);  // none: "default"
void parse_option(const std::string& text, std::optional<Method>& method);
std::string option_text(CodebookInit init);
void parse_option(const std::string& text, CodebookInit& init);
std::string option_text(OutlierChoice choice);
void parse_option(const std::string& text, OutlierChoice& choice);

// Options of one matrix.
struct QuantizeOptions {
  // How codes are found. quantize_model() takes each representation's own, see
  // QuantizeModelOptions.
  // Default: aqlm
  Method method = Method::kAqlm;

  // Of k-means and of the order of training vectors. Other seeds differ in the last digits.
  // Default: 0
  uint64_t seed = 0;

  // Added to the Hessian's diagonal, in units of its mean; doubled where the factorization fails.
  // Raise it where there is little calibration text for the width of the matrix.
  // Default: 0.01
  double damping = 0.01;

  // GPTQ: columns in order of falling diagonal of the Hessian, groups kept. Costs nothing; helps
  // 2- and 3-bit codes of some models and hurts others.
  // Default: false
  bool act_order = false;

  // All but RTN: rounds of codes and of codebooks or scales at most, after the first codes. GPTQ is
  // the paper's with none. Fewer where tuning follows: it makes good what the later rounds would.
  // Default: 16
  int max_rounds = 16;

  // All but RTN: stop when a round lowers the error by less than this share of it.
  // Default: 0.01
  double tolerance = 0.01;

  // AQLM: iterations of the k-means that codebooks start from.
  // Default: 30
  int kmeans_iterations = 30;

  // AQLM: width of a beam search, as the reference implementation's. 0: pairs of codebooks jointly,
  // which is better and faster; set it only to compare.
  // Default: 0
  int beam = 0;

  // GPTVQ: where codebooks begin. Set it only to compare with the paper.
  // Default: best
  CodebookInit codebook_init = CodebookInit::kBest;

  // GPTVQ: iterations of EM for initial codebooks at most; it ends when no assignment changes.
  // Default: 30
  int em_iterations = 30;

  // GPTVQ: times a column group's codebooks are fitted to the codes of its sweep, while the error
  // falls.
  // Default: 2
  int feedback_rounds = 2;

  // GPTVQ: rounds of codebooks and codes on the whole matrix, up to max_rounds, after the sweep.
  // Off: codebooks and codes stay as the sweep made them, in a part of the time.
  // Default: true
  bool codebook_update = true;

  // Representations with outliers: which weights they are.
  // Default: saliency
  OutlierChoice outliers = OutlierChoice::kSaliency;

  // Representations that are sums: times the term with codes is made, each time for what the other
  // terms leave. The best is kept.
  // Default: 2
  int sum_rounds = 2;

  // Representations that are sums: before the first round the terms without codes are fitted to the
  // weights themselves, and codes to what they leave (PV-Tuning, appendix J); else codes come first
  // (LoRC). More time; a little better with low rank.
  // Default: false
  bool corrections_first = false;

  // Representations with rows in 16 bits: which these are first of all, ascending; the others are
  // those whose error costs most. Codes see zeros there from the first round on. quantize_model()
  // gives those of special tokens.
  // Default: none
  std::vector<int64_t> kept_rows = {};

  // Polled between rounds and columns; when it is raised quantize_linear() throws Interrupted.
  // Default: null, never
  const CancelFlag* cancel = nullptr;

  template <typename Self, typename Visitor>
  static void visit(Self& o, Visitor& v);
};

template <typename Self, typename Visitor>
void QuantizeOptions::visit(Self& o, Visitor& v) {
  v.constant(o.method);
  v.constant(o.kept_rows);
  v.constant(o.cancel);
  v(Option{.key = "seed"}, o.seed);
  v(Option{.key = "damping",
           .help = "Added to the Hessian's diagonal, in units of its mean",
           .range = {{0, 10}}},
    o.damping);
  v(Option{.key = "act_order", .help = "GPTQ: treat the inputs with the largest activations first"},
    o.act_order);
  v(Option{.key = "max_rounds",
           .help =
               "Rounds of codes and of codebooks or scales after the first codes, at most (GPTQ: "
               "0 is the paper's)",
           .name = "rounds",
           .range = {{0, 1000}}},
    o.max_rounds);
  v(Option{.key = "tolerance",
           .help = "Stop when a round lowers the error by less than this share",
           .range = {{0, 1}}},
    o.tolerance);
  v(Option{.key = "kmeans_iterations"}, o.kmeans_iterations);
  v(Option{.key = "beam",
           .help = "AQLM: beam search of this width, as the reference's (0: pairs of codebooks "
                   "jointly, which is better and faster)",
           .range = {{0, 64}}},
    o.beam);
  v(Option{.key = "codebook_init",
           .help = "GPTVQ, initial codebooks: best, kmeans++, mahalanobis, quantiles"},
    o.codebook_init);
  v(Option{.key = "em_iterations",
           .help = "GPTVQ: iterations of EM for initial codebooks at most",
           .range = {{0, 10000}}},
    o.em_iterations);
  v(Option{.key = "feedback_rounds",
           .help = "GPTVQ: times a column group's codebooks are fitted to the codes of its sweep",
           .range = {{0, 100}}},
    o.feedback_rounds);
  v(Option{.key = "codebook_update",
           .help = "GPTVQ: leave codebooks and codes as the sweep made them"},
    o.codebook_update);
  v(Option{.key = "outliers",
           .help = "+out: which weights are kept: magnitude, saliency (by the Hessian), admm (the "
                   "best sparse approximation)"},
    o.outliers);
  v(Option{.key = "sum_rounds",
           .help = "Sums: times the codes are made anew for what the other terms spare",
           .range = {{1, 100}}},
    o.sum_rounds);
  v(Option{.key = "corrections_first",
           .help = "Sums: fit +out and +lr to the weights before the first codes",
           .recorded = Option::Recorded::kIfChanged},
    o.corrections_first);
}

}  // namespace bitsmith
