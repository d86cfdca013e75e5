#include "compressor/quantize_model/quantization_plan.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "compressor/quantize/quantizer.h"
#include "compressor/quantize_model/module_pattern.h"
#include "tokenizer/special_tokens.h"

namespace bitsmith {
namespace {

// Every module whose sizes do not fit, one sentence for each reason.
void check_sizes(const QuantizationPlan& plan) {
  std::map<std::string, std::pair<std::string, int>> reasons;  // reason -> first module, others
  for (const auto& [module, matrix] : plan.matrices) {
    try {
      check_quantizable(matrix.spec, matrix.shape.out_features, matrix.shape.in_features);
    } catch (const UsageError& e) {
      const auto [entry, fresh] =
          reasons.insert({concat(to_string(matrix.spec), ": ", e.what()), {module, 0}});
      if (!fresh) ++entry->second.second;
    }
  }
  if (reasons.empty()) return;
  std::string message;
  for (const auto& [reason, modules] : reasons) {
    message += concat(message.empty() ? "" : "\n", reason, " (", modules.first);
    message += modules.second > 0 ? concat(" and ", modules.second, " more)") : ")";
  }
  throw UsageError(message);
}

// The matrices of the first `blocks` blocks, then embedding and head.
std::vector<LinearPlan> matrices_in_scope(const ModelPlan& model, int64_t blocks) {
  std::vector<LinearPlan> matrices;
  for (int64_t block_index = 0; block_index < blocks; ++block_index) {
    for (const LinearPlan* linear : linears(model.blocks[static_cast<size_t>(block_index)]))
      matrices.push_back(*linear);
  }
  matrices.push_back(model.embedding);
  if (!model.tied) matrices.push_back(model.head);
  return matrices;
}

// Special tokens are few, and chats hang on them: fewer bits than this are not enough for their
// rows.
constexpr double kSpecialTokenBits = 8;

uint64_t output_bytes(const QuantizationPlan& plan, const ModelPlan& model) {
  double bytes = 0;
  for (const PlannedTensor& tensor : planned_tensors(model)) {
    const PlannedMatrix* matrix = plan.find(tensor.name.substr(0, tensor.name.rfind('.')));
    const bool quantized = matrix && tensor.name.ends_with(".weight");
    const double bits =
        quantized ? bits_per_weight(matrix->spec, tensor.shape[0], tensor.shape[1]) : 16;
    bytes += bits / 8 * static_cast<double>(element_count(tensor.shape));
  }
  return static_cast<uint64_t>(bytes);
}

// Methods that cannot use a full output factor as the options have them.
void check_output_factor(const QuantizationPlan& plan, const ModelPlan& model,
                         const QuantizeModelOptions& options) {
  for (const auto& [module, matrix] : plan.matrices) {
    if (is_outer_matrix(model, module) || matrix.method == Method::kRtn) continue;
    const std::string obstacle = output_factor_obstacle(matrix.spec, options.linear);
    if (!obstacle.empty())
      throw UsageError(concat("the objective kronecker cannot be had for ", module, " (",
                              to_string(matrix.spec), "): ", obstacle));
  }
}

// Matrices whose rows cannot be quantized group by group.
void check_row_groups(const QuantizationPlan& plan, const ModelPlan& model,
                      const QuantizeModelOptions& options) {
  if (options.objective != ErrorMeasure::kGuided)
    throw UsageError(
        "--guided-groups divides the rows of the guided objective: give --objective "
        "guided too");
  for (const auto& [module, matrix] : plan.matrices) {
    if (is_outer_matrix(model, module)) continue;
    if (matrix.method == Method::kRtn) continue;
    if (!rows_stand_alone(matrix.spec) || kept_rows(matrix.spec) > 0)
      throw UsageError(
          concat("--guided-groups is for matrices whose rows share nothing, and those of ", module,
                 " (", to_string(matrix.spec), ") do: weigh them by --row-weights guided instead"));
    if (matrix.shape.out_features % options.guided_groups != 0)
      throw UsageError(concat(module, " has ", matrix.shape.out_features, " rows, which ",
                              options.guided_groups,
                              " groups do not divide: choose another --guided-groups"));
  }
}

// What asks more of the calibration text than the plan or the other options give.
void check_objective(const QuantizationPlan& plan, const ModelPlan& model,
                     const QuantizeModelOptions& options) {
  if (options.estimate_cross_term && options.cross_term == 0)
    throw UsageError(
        "the share of the cross term cannot be estimated where the cross term is 0: that turns it "
        "off");
  if (!options.guided() && options.guided_share != QuantizeModelOptions().guided_share)
    throw UsageError(
        "--guided-share divides the weights of the guided objective: give --objective guided or "
        "kronecker too");
  // Embedding and head have an objective of their own.
  const bool has_objective =
      std::any_of(plan.matrices.begin(), plan.matrices.end(), [&](const auto& entry) {
        return entry.second.method != Method::kRtn && !is_outer_matrix(model, entry.first);
      });
  if (options.guided_groups > 1) check_row_groups(plan, model, options);
  if (options.kronecker()) check_output_factor(plan, model, options);
  if (has_objective) return;
  const auto refuse = [](const std::string& what) {
    throw UsageError(concat(
        what, " needs a method that learns from text for matrices of the blocks; rtn does not"));
  };
  if (options.guided()) refuse(concat("the objective ", option_text(options.objective)));
  if (options.row_weights != RowWeights::kNone)
    refuse(concat("weighting rows (", option_text(options.row_weights), ")"));
  if (options.estimate_cross_term) refuse("estimating the cross term");
  if (options.shrink_hessian) refuse("shrinking Hessians");
}

}  // namespace

Method method_for(const RepresentationSpec& spec, const QuantizeModelOptions& options) {
  if (!options.method) return default_method(spec);
  if (spec == options.representation) {
    check_method(*options.method, spec);
    return *options.method;
  }
  return *options.method == Method::kRtn ? Method::kRtn : default_method(spec);
}

RepresentationSpec with_special_tokens(const RepresentationSpec& spec, int64_t rows,
                                       int64_t columns, int64_t count) {
  const bool few_bits = bits_per_weight(spec, rows, columns) < kSpecialTokenBits;
  return few_bits && kept_rows(spec) == 0 ? with_kept_rows(spec, count) : spec;
}

bool QuantizationPlan::needs_calibration() const {
  return std::any_of(matrices.begin(), matrices.end(),
                     [](const auto& entry) { return entry.second.method != Method::kRtn; });
}

const PlannedMatrix* QuantizationPlan::find(const std::string& module) const {
  const auto found = matrices.find(module);
  return found == matrices.end() ? nullptr : &found->second;
}

QuantizationPlan plan_quantization(const ModelPlan& model, const QuantizeModelOptions& options,
                                   const std::vector<int64_t>& special_tokens) {
  if (options.stop_after_blocks < 0 || options.stop_after_blocks > model.num_blocks())
    throw UsageError(
        concat("the model has ", model.num_blocks(), " blocks, not ", options.stop_after_blocks));
  if (options.method) check_method(*options.method, options.representation);

  std::vector<ModulePattern> keep;
  for (const std::string& text : options.keep) keep.emplace_back("keep", text);
  std::vector<ModulePattern> overrides;
  for (const auto& [text, spec] : options.overrides) overrides.emplace_back("override", text);

  QuantizationPlan plan;
  plan.blocks = options.stop_after_blocks > 0 ? options.stop_after_blocks : model.num_blocks();
  plan.special_tokens = special_tokens;
  std::vector<std::string> outer;  // embedding and head
  const std::vector<LinearPlan> matrices = matrices_in_scope(model, plan.blocks);
  for (const LinearPlan& shape : matrices) {
    const bool is_outer = is_outer_matrix(model, shape.name);
    bool kept = false;
    for (ModulePattern& pattern : keep) kept = pattern.matches(shape.name) || kept;
    std::optional<RepresentationSpec> spec = options.representation;
    if (is_outer) spec = spec_of(options.embedding, shape.in_features);
    bool by_bits = is_outer && !options.embedding.representation;  // --embedding 8
    if (const auto found = options.chosen.find(shape.name); found != options.chosen.end()) {
      spec = found->second;
      by_bits = false;
    }
    for (size_t i = 0; i < overrides.size(); ++i) {
      if (!overrides[i].matches(shape.name)) continue;
      spec = options.overrides[i].second;
      by_bits = false;
    }
    if (kept || !spec) continue;
    if (is_outer && mixes_rows(*spec))
      throw UsageError(concat(shape.name, " is looked up row by row, and ", to_string(*spec),
                              " mixes rows: rotate its inputs alone, as in had-in:int4g32"));
    const Method method = by_bits ? Method::kRtn : method_for(*spec, options);
    plan.matrices[shape.name] = {shape, *spec, method};
    if (is_outer) outer.push_back(shape.name);
  }
  for (const ModulePattern& pattern : keep) pattern.require_used(matrices[0].name);
  for (const ModulePattern& pattern : overrides) pattern.require_used(matrices[0].name);
  if (plan.matrices.empty())
    throw UsageError("nothing is left to quantize: every matrix is kept dense");
  check_sizes(plan);
  check_objective(plan, model, options);
  for (const std::string& module : outer) {
    PlannedMatrix& matrix = plan.matrices.at(module);
    matrix.spec = with_special_tokens(matrix.spec, matrix.shape.out_features,
                                      matrix.shape.in_features, std::ssize(special_tokens));
  }
  plan.disk_bytes = 2 * output_bytes(plan, model);  // finished blocks, then the result beside them
  return plan;
}

QuantizationPlan plan_quantization(const ModelFiles& files, const QuantizeModelOptions& options) {
  // Where no embedding or head can have few bits the tokenizer is not asked.
  const bool many_bits = !options.embedding.representation &&
                         options.embedding.bits >= kSpecialTokenBits && options.overrides.empty() &&
                         options.chosen.empty();
  return plan_quantization(files.plan(), options,
                           many_bits ? std::vector<int64_t>() : special_tokens(files.checkpoint()));
}

}  // namespace bitsmith
