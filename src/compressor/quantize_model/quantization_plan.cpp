#include "compressor/quantize_model/quantization_plan.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "compressor/quantize_model/module_pattern.h"

namespace bitsmith {
namespace {

// The asked method where it can make `spec`, else the spec's own (an override may be of another
// kind than the representation that the method was asked for).
Method method_for(const RepresentationSpec& spec, const QuantizeModelOptions& options) {
  if (!options.method) return default_method(spec);
  if (spec == options.representation) {
    check_method(*options.method, spec);
    return *options.method;
  }
  return *options.method == Method::kRtn ? Method::kRtn : default_method(spec);
}

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

// What asks more of the calibration text than the plan or the other options give.
void check_objective(const QuantizationPlan& plan, const QuantizeModelOptions& options) {
  if (options.estimate_cross_term && options.cross_term == 0)
    throw UsageError(
        "the share of the cross term cannot be estimated where the cross term is 0: that turns it "
        "off");
  if (plan.needs_calibration()) return;
  const auto refuse = [](const std::string& what) {
    throw UsageError(concat(what, " needs a method that learns from text; rtn does not"));
  };
  if (options.guided()) refuse(concat("the objective ", option_text(options.objective)));
  if (options.row_weights != RowWeights::kNone)
    refuse(concat("weighting rows (", option_text(options.row_weights), ")"));
  if (options.estimate_cross_term) refuse("estimating the cross term");
  if (options.shrink_hessian) refuse("shrinking Hessians");
}

}  // namespace

bool QuantizationPlan::needs_calibration() const {
  return std::any_of(matrices.begin(), matrices.end(),
                     [](const auto& entry) { return entry.second.method != Method::kRtn; });
}

const PlannedMatrix* QuantizationPlan::find(const std::string& module) const {
  const auto found = matrices.find(module);
  return found == matrices.end() ? nullptr : &found->second;
}

QuantizationPlan plan_quantization(const ModelPlan& model, const QuantizeModelOptions& options) {
  if (options.embedding_bits != 16 && options.embedding_bits != 8 && options.embedding_bits != 4)
    throw UsageError(concat("embedding and head cannot have ", options.embedding_bits,
                            " bits: choose 16, 8 or 4"));
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
  const std::vector<LinearPlan> matrices = matrices_in_scope(model, plan.blocks);
  for (const LinearPlan& shape : matrices) {
    const bool is_outer = is_outer_matrix(model, shape.name);
    bool kept = false;
    for (ModulePattern& pattern : keep) kept = pattern.matches(shape.name) || kept;
    std::optional<RepresentationSpec> spec = options.representation;
    if (is_outer) {
      spec.reset();
      if (options.embedding_bits < 16)
        spec = row_representation(options.embedding_bits, model.hidden_size);
    }
    for (size_t i = 0; i < overrides.size(); ++i)
      if (overrides[i].matches(shape.name)) spec = options.overrides[i].second;
    if (kept || !spec) continue;
    if (is_outer && !rows_stand_alone(*spec))
      throw UsageError(concat(shape.name, " is looked up row by row: ", to_string(*spec),
                              " shares codebooks over rows, or mixes them; int8g64 does neither"));
    const Method method = is_outer ? Method::kRtn : method_for(*spec, options);
    plan.matrices[shape.name] = {shape, *spec, method};
  }
  for (const ModulePattern& pattern : keep) pattern.require_used(matrices[0].name);
  for (const ModulePattern& pattern : overrides) pattern.require_used(matrices[0].name);
  if (plan.matrices.empty())
    throw UsageError("nothing is left to quantize: every matrix is kept dense");
  check_sizes(plan);
  check_objective(plan, options);
  plan.disk_bytes = 2 * output_bytes(plan, model);  // finished blocks, then the result beside them
  return plan;
}

}  // namespace bitsmith
