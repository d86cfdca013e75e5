#include "compressor/quantize_model/outer_quantizer.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "compressor/objective/hessian_sum.h"
#include "compressor/quantize_model/block_stream.h"
#include "compressor/quantize_model/sliced_tensor.h"

namespace bitsmith {
namespace {

// A slice of rows in float32, so that the largest matrix of a model need not exist as a whole.
constexpr int64_t kSliceWeights = int64_t{1} << 22;
// A method factors H for each slice; so many rows an input make that a small part of its work.
constexpr int64_t kRowsAnInput = 4;

// Rows [first, first + count) of the objective.
Objective of_rows(const Objective& objective, int64_t first, int64_t count) {
  Objective own = objective;
  if (own.output_factor.defined()) own.output_factor = own.output_factor.narrow(0, first, count);
  return own;
}

// Those of `rows` that are in [first, first + count), counted from there.
std::vector<int64_t> within(const std::vector<int64_t>& rows, int64_t first, int64_t count) {
  std::vector<int64_t> own;
  for (const int64_t row : rows) {
    if (row >= first && row < first + count) own.push_back(row - first);
  }
  return own;
}

// Whether its objective is that of final hidden states: a head's, unless codes are the nearest.
bool needs_hidden_states(const ModelPlan& model, const PlannedMatrix& matrix) {
  return matrix.method != Method::kRtn && (model.tied || matrix.shape.name == model.head.name);
}

}  // namespace

torch::Tensor final_hessian(const Decoder& decoder, const torch::Tensor& outputs, int64_t tokens,
                            const std::function<void(double)>& progress,
                            Communicator& communicator) {
  const Norm norm = load_norm(decoder.files(), decoder.plan().final_norm, decoder.dtype());
  HessianSum sum(outputs.size(2));
  each_window_chunk(outputs, tokens, progress, [&](int64_t first, int64_t count) {
    sum.add(norm.forward(outputs.narrow(0, first, count)));
  });
  sum.merge_ranks(communicator);
  torch::Tensor hessian = sum.hessian();
  if (!torch::isfinite(hessian.sum()).item<bool>())
    throw Error("the final hidden states are not finite: the model's activations overflow");
  return hessian;
}

Objective outer_objective(const ModelPlan& model, const std::string& module,
                          const torch::Tensor& hidden, const torch::Tensor& counts) {
  Objective objective;
  if (model.tied) {
    objective.hessian = hidden.clone();
    objective.hessian.diagonal().add_(hidden.diagonal().mean());
  } else if (module == model.head.name) {
    objective.hessian = hidden;
  }
  const torch::Tensor weights = (counts + 1).sqrt();
  objective.output_factor = weights / weights.mean();
  return objective;
}

int64_t outer_slice_rows(const PlannedMatrix& matrix) {
  const int64_t rows = matrix.shape.out_features, columns = matrix.shape.in_features;
  if (!rows_stand_alone(matrix.spec)) return rows;
  const int64_t least = matrix.method == Method::kRtn ? 1 : kRowsAnInput * columns;
  return std::min(rows, std::max(least, kSliceWeights / columns));
}

OuterQuantizer::OuterQuantizer(const ModelFiles& files, const QuantizationPlan& plan,
                               const QuantizeModelOptions& options, const torch::Tensor& windows,
                               const RunContext& context)
    : files_(files),
      plan_(plan),
      options_(options),
      counts_(torch::bincount(windows.flatten(), {}, files.plan().vocab_size).to(torch::kFloat)),
      context_(context) {}

std::vector<LinearPlan> OuterQuantizer::planned(bool needs_hidden) const {
  std::vector<LinearPlan> found;
  for (const LinearPlan& shape : {files_.plan().embedding, files_.plan().head}) {
    const PlannedMatrix* matrix = plan_.find(shape.name);
    if (matrix && needs_hidden_states(files_.plan(), *matrix) == needs_hidden)
      found.push_back(shape);
  }
  return found;
}

std::vector<int64_t> OuterQuantizer::rows_to_keep(int64_t count) const {
  std::vector<int64_t> rows = plan_.special_tokens;
  const auto frequent =
      std::get<1>(counts_.sort(/*stable=*/true, /*dim=*/0, /*descending=*/true)).contiguous();
  const auto* token = frequent.const_data_ptr<int64_t>();
  const auto& specials = plan_.special_tokens;
  for (int64_t i = 0; i < frequent.numel() && std::ssize(rows) < count; ++i) {
    if (!std::binary_search(specials.begin(), specials.end(), token[i])) rows.push_back(token[i]);
  }
  rows.resize(static_cast<size_t>(count));
  std::sort(rows.begin(), rows.end());
  return rows;
}

QuantizedModules OuterQuantizer::quantize(const std::vector<LinearPlan>& matrices,
                                          const torch::Tensor& hidden,
                                          const LinearObserver& observer) const {
  const torch::NoGradGuard no_grad;
  QuantizedModules modules;
  for (const LinearPlan& shape : matrices) {
    check_cancelled(context_.cancel);
    const PlannedMatrix& matrix = *plan_.find(shape.name);
    quantize(matrix,
             matrix.method == Method::kRtn
                 ? Objective()
                 : outer_objective(files_.plan(), shape.name, hidden, counts_),
             modules, observer);
  }
  return modules;
}

void OuterQuantizer::quantize(const PlannedMatrix& matrix, const Objective& objective,
                              QuantizedModules& modules, const LinearObserver& observer) const {
  const auto start = std::chrono::steady_clock::now();
  const int64_t rows = matrix.shape.out_features, columns = matrix.shape.in_features;
  const int64_t slice = outer_slice_rows(matrix);
  const std::vector<int64_t> kept = rows_to_keep(kept_rows(matrix.spec));
  QuantizeOptions own = options_.linear;
  own.method = matrix.method;
  own.cancel = context_.cancel;
  SlicedTensor whole(matrix.spec, rows, columns);
  std::vector<StageReport> stages;  // of all rows
  double error = 0, total = 0;
  for (int64_t first = 0; first < rows; first += slice) {
    const int64_t count = std::min(slice, rows - first);
    const torch::Tensor weight = torch::empty({count, columns});
    files_.checkpoint().read_rows(matrix.shape.name + ".weight", first, count,
                                  {weight.data_ptr<float>(), static_cast<size_t>(weight.numel())});
    own.kept_rows = within(kept, first, count);
    const Objective cost = of_rows(objective, first, count);
    QuantizedLinear linear;
    try {
      linear = quantize_linear(weight, cost, with_kept_rows(matrix.spec, std::ssize(own.kept_rows)),
                               own);
    } catch (const Interrupted&) {
      throw;
    } catch (const Error& e) {
      throw Error(
          concat(matrix.shape.name, ", rows ", first, "..", first + count - 1, ": ", e.what()));
    }
    error += cost.error(weight - linear.representation->dequantize());
    total += cost.error(weight);
    whole.append(linear.representation->to_format(), first);
    if (count == rows) stages = std::move(linear.stages);
  }
  LinearSummary summary;
  summary.module = matrix.shape.name;
  summary.representation = to_string(matrix.spec);
  summary.method = method_name(matrix.method);
  summary.relative_error = total > 0 ? error / total : 0;
  summary.bits = bits_per_weight(matrix.spec, rows, columns);
  summary.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  modules.linears.push_back(summary);
  modules.matrices[matrix.shape.name] = whole.take();
  if (observer) observer(summary, stages);
}

}  // namespace bitsmith
