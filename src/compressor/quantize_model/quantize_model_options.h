// What one-shot quantization of a model is asked to do. No LibTorch here.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "compressor/quantize/quantize_options.h"
#include "format/embedding_choice.h"

namespace bitsmith {

// Matrices whose name matches a regular expression, and what they become: "down_proj=int4g64".
using Override = std::pair<std::string, RepresentationSpec>;
std::string option_text(const Override& entry);
void parse_option(const std::string& text, Override& entry);

// Which error a matrix's objective measures. Layer: that of its outputs. Guided: that of the end
// loss, tokens weighted by the squared gradients of the model's loss at these outputs (GuidedQuant,
// Kim et al. 2025). Kronecker: besides that rows together, by a full output factor
// (objective/output_factor.h) of each matrix for which held-out gradients bear it out.
enum class ErrorMeasure { kLayer, kGuided, kKronecker };
std::string option_text(ErrorMeasure measure);
void parse_option(const std::string& text, ErrorMeasure& measure);

// What rows of a matrix count, where they share codebooks, outliers or rank. Guided: their mean
// squared gradients. Relative: queries and keys, the inverse of their mean square.
enum class RowWeights { kNone, kGuided, kRelative };
std::string option_text(RowWeights weights);
void parse_option(const std::string& text, RowWeights& weights);

// Declares the options that say what an error costs, of every command that quantizes a model.
template <typename Visitor, typename Measure, typename Share, typename Weights>
void visit_error_measure(Visitor& v, Measure& objective, Share& guided_share,
                         Weights& row_weights) {
  v(Option{.key = "objective",
           .help = "Which error is made small: layer (of each matrix's outputs), guided (of the "
                   "model's loss: tokens weighted by its squared gradients at these outputs; one "
                   "backward pass more) or kronecker (guided, and errors of different outputs "
                   "together where held-out gradients bear that out; more memory, disk and time)",
           .recorded = Option::Recorded::kIfChanged},
    objective);
  v(Option{.key = "guided_share",
           .help = "With --objective guided or kronecker, how much of a token's weight follows its "
                   "gradients; the rest is the same for every token",
           .range = {{0, 1}},
           .recorded = Option::Recorded::kIfChanged},
    guided_share);
  v(Option{.key = "row_weights",
           .help = "What rows count where they share codebooks, outliers or rank: none (alike), "
                   "guided (by their squared gradients) or relative (queries and keys by the "
                   "inverse of their mean square)",
           .recorded = Option::Recorded::kIfChanged},
    row_weights);
}

// Options of a model.
struct QuantizeModelOptions {
  // What the matrices of the blocks become.
  RepresentationSpec representation;

  // How their codes are found. rtn takes seconds and no text, for much worse results.
  // Default: none, each representation's own
  std::optional<Method> method;

  // Regular expressions over names of matrices that stay dense. For a matrix that ruins the result.
  // Default: none
  std::vector<std::string> keep;

  // Other representations for some matrices; the last match wins. For more bits where they count.
  // Default: none
  std::vector<Override> overrides;

  // Representations by module, before overrides: what a budget chose (budget/budget.h).
  // Default: none
  std::map<std::string, RepresentationSpec> chosen;

  // What embedding and head become: 16, 8 or 4 bits by nearest rounding, or a representation by its
  // own method, with rows of special tokens in 16 bits. They are most of the file of a small model,
  // and 8 bits cost next to no quality.
  // Default: 16
  EmbeddingChoice embedding;

  // Quantize only the first N blocks and leave the rest dense; 0: all. To try options on a large
  // model.
  // Default: 0
  int64_t stop_after_blocks = 0;

  // What a linear's outputs should be: 1: the original model's own (input_drift()); 0: the
  // original linear's on the quantized model's inputs (AQLM, GPTQ, GPTVQ); or between. 0 takes half
  // the forward passes and half the memory of activations.
  // Default: 0.5
  double cross_term = 0.5;

  // The share of the cross term is found for each matrix instead: what its noise allows, by the two
  // halves of the calibration text (half_noise.h).
  // Default: false
  bool estimate_cross_term = false;

  // Each Hessian is moved towards its diagonal by the share that is noise, by the same halves.
  // Default: false
  bool shrink_hessian = false;
  bool uses_halves() const { return estimate_cross_term || shrink_hessian; }

  // What an error costs. Guided takes one backward pass over the calibration text more, and a
  // Hessian for each matrix where matrices of one input share it otherwise. Kronecker takes files
  // and memory that grow with the square of a matrix's outputs, and rows in turn where codebooks
  // are fitted.
  // Default: layer
  ErrorMeasure objective = ErrorMeasure::kLayer;

  // How much of a token's weight follows its gradients where the objective is not the layer's; the
  // rest is the same for every token. The gradients are those of one sampled label, and small
  // errors only are what they speak of: a token that the model is sure of has none, and still must
  // not be lost. Default: 0.5
  double guided_share = 0.5;

  // Groups of neighboring rows, each with token weights and a Hessian of its own where the
  // objective is guided (GuidedQuant has 1 to 4). For representations whose rows share nothing.
  // More time and memory for Hessians, and fewer rows that the gradients of a token are averaged
  // over. Default: 1
  int64_t guided_groups = 1;

  // Default: none
  RowWeights row_weights = RowWeights::kNone;
  bool guided() const { return objective != ErrorMeasure::kLayer; }  // tokens by their gradients
  bool kronecker() const { return objective == ErrorMeasure::kKronecker; }
  bool uses_gradients() const { return guided() || row_weights == RowWeights::kGuided; }

  // Within a block each site's inputs come through the matrices quantized before it, instead of
  // through the original block. Always so with a cross term: else an error that one matrix has
  // compensated would be compensated again by the next.
  // Default: false
  bool true_sequential = false;
  bool sequential() const { return true_sequential || cross_term > 0; }

  // Of the blocks' forward passes: "float32", or "bfloat16" with half the memory of activations.
  // Default: float32
  std::string dtype = "float32";

  // Activations run at a time, in tokens. Bounds the memory of a forward pass.
  // Default: 4096
  int64_t batch_tokens = 4096;

  // The method there is not used.
  QuantizeOptions linear;

  template <typename Self, typename Visitor>
  static void visit(Self& o, Visitor& v);
};

template <typename Self, typename Visitor>
void QuantizeModelOptions::visit(Self& o, Visitor& v) {
  v(Option{.key = "representation",
           .help = "What the blocks' matrices become, as described above",
           .required = true,
           .shows_default = false},
    o.representation);
  v(Option{.key = "method", .help = methods_help(), .shows_default = false}, o.method);
  v(Option{.key = "keep",
           .help = "Leave matrices whose name matches this regular expression dense; may repeat"},
    o.keep);
  v(Option{.key = "override",
           .help = "REGEX=R: give matching matrices another representation; the last match wins"},
    o.overrides);
  v.constant(o.chosen);
  v(Option{.key = "embedding",
           .help = "Embedding and head: 16 bits; 8 or 4 by nearest rounding, with a scale for each "
                   "64 or 32 inputs at most; or any representation, by its own method in the "
                   "metric of their uses (special tokens stay in 16 bits)",
           .recorded = Option::Recorded::kDerived},
    o.embedding);
  v.derived("embedding_bits", o.embedding.representation ? OrderedJson(option_text(o.embedding))
                                                         : OrderedJson(o.embedding.bits));
  v(Option{.key = "stop_after_blocks",
           .help = "Quantize the first N blocks only and leave the others dense (0: all); to try "
                   "options on a large model",
           .range = at_least(0)},
    o.stop_after_blocks);
  v(Option{.key = "cross_term",
           .help = "What a linear's outputs should be: 0: those of the original linear on the "
                   "quantized model's inputs (half the forward passes); 1: those of the original "
                   "model; or between",
           .range = {{0, 1}}},
    o.cross_term);
  v(Option{.key = "estimate_cross_term",
           .help = "Find the share of the cross term for each matrix: as much as the two halves of "
                   "the calibration text agree on",
           .recorded = Option::Recorded::kIfChanged},
    o.estimate_cross_term);
  v(Option{.key = "shrink_hessian",
           .help = "Move each Hessian towards its diagonal by what the two halves of the "
                   "calibration text do not agree on",
           .recorded = Option::Recorded::kIfChanged},
    o.shrink_hessian);
  visit_error_measure(v, o.objective, o.guided_share, o.row_weights);
  v(Option{.key = "guided_groups",
           .help =
               "With --objective guided, groups of neighboring rows that have token weights and "
               "a Hessian of their own; for representations whose rows share nothing",
           .range = {{1, 4}},
           .recorded = Option::Recorded::kIfChanged},
    o.guided_groups);
  v(Option{.key = "true_sequential",
           .help = "Within a block, each matrix gets its inputs through those quantized before it "
                   "also where there is no cross term",
           .recorded = Option::Recorded::kDerived},
    o.true_sequential);
  v.derived("true_sequential", o.sequential());
  v(Option{.key = "dtype",
           .help = "Of the blocks' forward passes: float32, or bfloat16 (half the memory)",
           .choices = {"float32", "bfloat16"}},
    o.dtype);
  v(Option{.key = "batch_tokens"}, o.batch_tokens);
  QuantizeOptions::visit(o.linear, v);
}

}  // namespace bitsmith
