#include "compressor/quantize_model/block_quantizer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "compressor/model/dense_tensor.h"
#include "compressor/objective/half_noise.h"
#include "compressor/quantize_model/expert_tokens.h"
#include "compressor/quantize_model/row_weights.h"
#include "compressor/quantize_model/sliced_tensor.h"

namespace bitsmith {
namespace {

// How a block's time divides, for the progress line only.
constexpr double kHessianShare = 0.3;
constexpr double kLinearsShare = 0.55;

// Of weights of rows, or of a full output factor where they are all; undefined: none.
torch::Tensor rows_of(const torch::Tensor& weights, int64_t first, int64_t count) {
  return weights.defined() ? weights.narrow(0, first, count) : weights;
}

// Of what comes last in a block.
auto outputs_progress(const BlockProgress& progress) {
  return [&progress](double share) {
    constexpr double kBegin = kHessianShare + kLinearsShare;
    progress(kBegin + (1 - kBegin) * share, "outputs");
  };
}

// Of a mean over `count` values.
void add_share(std::optional<double>& mean, double value, int64_t count) {
  mean = mean.value_or(0) + value / static_cast<double>(count);
}

}  // namespace

BlockQuantizer::BlockQuantizer(const Decoder& decoder, const QuantizationPlan& plan,
                               const QuantizeModelOptions& options, torch::Tensor activations,
                               OutputGradients gradients, OutputMomentSource moments,
                               BlockFinetuner finetune, const RunContext& context,
                               const torch::Tensor& original_activations)
    : decoder_(decoder),
      plan_(plan),
      options_(options),
      all_windows_(sum_of_ranks({activations.size(0)}, *context.communicator).front()),
      first_window_(share_of_windows(all_windows_, activations.size(1), options.batch_tokens,
                                     context.communicator->rank(), context.communicator->size())
                        .first),
      gradients_(std::move(gradients)),
      moments_(std::move(moments)),
      rotary_(decoder.rotary(activations.size(1))),
      stream_(decoder, rotary_, activations),
      original_stream_(decoder, rotary_,
                       options.cross_term == 0          ? torch::Tensor()
                       : original_activations.defined() ? original_activations
                                                        : activations.clone()),
      finetune_(std::move(finetune)),
      context_(context) {}

std::vector<const Linear*> BlockQuantizer::planned(Block& block, size_t site) const {
  std::vector<const Linear*> linears;
  for (const Linear* linear : block.site_linears(site)) {
    if (plan_.find(linear->name)) linears.push_back(linear);
  }
  return linears;
}

std::vector<InputSums> BlockQuantizer::collect(Block& block, const Block& original, size_t site,
                                               bool all_tokens, bool keep_original_outputs,
                                               const std::function<void(double)>& progress) {
  const int64_t length = stream_.inputs().size(1);
  std::vector<InputSums> sums;
  std::vector<torch::Tensor> weights;  // of each sum's tokens; undefined: all alike
  for (const Linear* linear : planned(block, site)) {
    if (!sums.empty() && !options_.guided()) break;
    for (int64_t group = 0; group < options_.guided_groups; ++group) {
      sums.emplace_back(linear->in_features, with_original(), options_.uses_halves());
      weights.push_back(options_.guided() ? token_weights(gradients_.at(linear->name), group,
                                                          options_.guided_share)
                                          : torch::Tensor());
    }
  }
  const auto add_chunk = [&](int64_t first, int64_t count) {
    const torch::Tensor tokens = stream_.tokens_of(block, site, first, count, all_tokens);
    const auto inputs =
        stream_.site_inputs(block, site, first, count, tokens, /*keep_outputs=*/false);
    torch::Tensor expected;
    if (with_original()) {
      expected =
          original_stream_.site_inputs(original, site, first, count, tokens, keep_original_outputs);
    }
    // Tokens of the chunk that lie in the first half of the windows.
    const int64_t bound =
        std::clamp<int64_t>(all_windows_ / 2 - first_window_ - first, 0, count) * length;
    const int64_t in_first_half =
        tokens.defined() && options_.uses_halves() ? (tokens < bound).sum().item<int64_t>() : bound;
    for (size_t i = 0; i < sums.size(); ++i) {
      torch::Tensor own = weights[i];
      if (own.defined()) own = own.narrow(0, (first_window_ + first) * length, count * length);
      if (own.defined() && tokens.defined()) own = own.index_select(0, tokens);
      sums[i].add(inputs, expected, own, in_first_half);
    }
  };
  each_window_chunk(stream_.inputs(), options_.batch_tokens, progress, add_chunk);
  for (InputSums& sum : sums) sum.merge_ranks(*context_.communicator);
  return sums;
}

BlockQuantizer::InputStatistics BlockQuantizer::statistics(InputSums sums,
                                                           const Linear& linear) const {
  InputStatistics inputs;
  inputs.hessian = sums.hessian();
  if (!torch::isfinite(inputs.hessian.sum()).item<bool>()) {
    throw Error(concat(linear.name,
                       ": its inputs are not finite: the model's activations overflow ",
                       options_.dtype, " before this linear"));
  }
  if (options_.shrink_hessian) {
    inputs.shrinkage = sums.shrinkage();
    inputs.hessian = shrunk_hessian(inputs.hessian, *inputs.shrinkage);
  }
  inputs.drift = std::move(sums).drift(inputs.hessian, options_.linear.damping);
  return inputs;
}

torch::Tensor BlockQuantizer::output_factor(const Linear& linear, const Block& block,
                                            const torch::Tensor& weight,
                                            LinearSummary& summary) const {
  torch::Tensor factor;
  if (options_.row_weights == RowWeights::kGuided) factor = row_weights(gradients_.at(linear.name));
  if (options_.row_weights == RowWeights::kRelative)
    factor = relative_row_weights(block.plan->attention, linear.name, weight);
  if (!options_.kronecker()) return factor;
  const OutputFactorEstimate estimate = estimate_output_factor(
      moments_(block.index, linear), weight.square().mean(1).sqrt(), options_.linear.damping);
  const char* without = factor.defined() ? "diagonal" : "identity";
  summary.output_factor = OutputFactorSummary{estimate.holds() ? "full" : without,
                                              estimate.held_out_cost, estimate.shrinkage};
  return estimate.holds() ? estimate.factor : factor;
}

Objective BlockQuantizer::objective(const torch::Tensor& weight, const torch::Tensor& output_factor,
                                    const InputStatistics& inputs, int64_t row_groups,
                                    LinearSummary& summary) const {
  Objective objective(inputs.hessian);
  objective.output_factor = output_factor;
  if (inputs.shrinkage) add_share(summary.shrinkage, *inputs.shrinkage, row_groups);
  const InputDrift& drift = inputs.drift;
  if (!drift.whole.defined()) return objective;
  double share = options_.cross_term;
  if (options_.estimate_cross_term) {
    share = 1 - shift_noise(objective, cross_term_shift(weight, drift.first, 1),
                            cross_term_shift(weight, drift.second, 1));
    add_share(summary.cross_term, share, row_groups);
  }
  objective.shift = cross_term_shift(weight, drift.whole, share);
  return objective;
}

void BlockQuantizer::quantize_linear(Linear& linear, const PlannedMatrix& matrix,
                                     const Block& block, const std::vector<InputStatistics>& inputs,
                                     LinearSummary summary, QuantizedModules& modules,
                                     const LinearObserver& observer) const {
  const torch::Tensor weight = decoder_.dtype() == torch::kFloat32 && linear.weight.defined()
                                   ? linear.weight
                                   : read_matrix(decoder_.files(), linear.name, torch::kFloat32);
  QuantizeOptions own = options_.linear;
  own.method = matrix.method;
  own.cancel = context_.cancel;
  const bool nearest = matrix.method == Method::kRtn;  // to the weights
  const int64_t groups = nearest ? 1 : std::ssize(inputs), rows = linear.out_features / groups;
  SlicedTensor whole(matrix.spec, linear.out_features, linear.in_features);
  std::vector<torch::Tensor> dense;
  std::vector<StageReport> stages;
  double error = 0, total = 0;
  try {
    const torch::Tensor factor =
        nearest ? torch::Tensor() : output_factor(linear, block, weight, summary);
    for (int64_t group = 0; group < groups; ++group) {
      const torch::Tensor part = weight.narrow(0, group * rows, rows);
      const InputStatistics& of_inputs = inputs[static_cast<size_t>(group)];
      const Objective cost = nearest ? Objective(of_inputs.hessian)
                                     : objective(part, rows_of(factor, group * rows, rows),
                                                 of_inputs, groups, summary);
      QuantizedLinear result = bitsmith::quantize_linear(part, cost, matrix.spec, own);
      whole.append(result.representation->to_format(), group * rows);
      if (options_.sequential()) dense.push_back(result.representation->dequantize());
      summary.seconds += result.seconds;
      summary.relative_error = result.relative_error;
      stages = std::move(result.stages);
      if (groups == 1) break;
      const double own_total = cost.centered().error(cost.target(part));
      error += result.relative_error * own_total;
      total += own_total;
    }
  } catch (const Interrupted&) {
    throw;
  } catch (const Error& e) {
    throw Error(concat(linear.name, ": ", e.what()));
  }
  if (groups > 1) {
    summary.relative_error = total > 0 ? error / total : 0;
    stages = {StageReport{summary.method, summary.relative_error, summary.seconds}};
  }
  if (options_.sequential()) linear.weight = torch::cat(dense).to(decoder_.dtype());
  modules.matrices[linear.name] = whole.take();
  modules.linears.push_back(summary);
  if (observer) observer(summary, stages);
}

void BlockQuantizer::walk(Block& block, const Block& original, ExpertsInTurn* experts,
                          const BlockShare& owners, const BlockProgress& progress,
                          const LinearWork& work, const LinearsDone& done) {
  const auto planned_weights = [&](const std::vector<Linear*>& linears) {
    int64_t sum = 0;
    for (const Linear* linear : linears)
      if (plan_.find(linear->name)) sum += linear->out_features * linear->in_features;
    return sum;
  };
  const int64_t all_weights = planned_weights(block.linears());
  if (all_weights == 0) return;
  Communicator& ranks = *context_.communicator;
  int sites_done = 0;
  int64_t done_weights = 0;
  const auto share_done = [&](double of_site = 0) {
    return kHessianShare * (sites_done + of_site) / static_cast<double>(block.sites.size()) +
           kLinearsShare * static_cast<double>(done_weights) / static_cast<double>(all_weights);
  };
  std::vector<DealtLinear> dealt;
  const auto work_on_dealt = [&](const std::vector<Linear*>& linears) {
    for (DealtLinear& next : dealt) {
      progress(share_done(), next.linear->name.substr(next.linear->name.rfind('.') + 1));
      work(std::move(next));
    }
    dealt.clear();
    done(linears);
    done_weights += planned_weights(linears);
  };

  std::vector<int64_t> expert_tokens;
  ExpertTokens few;
  for (size_t site = 0; site < block.sites.size(); ++site) {
    const Site& plan = block.sites[site];
    if (experts) experts->enter(plan);
    std::vector<InputSums> sums;
    std::vector<InputStatistics> inputs(1);
    if (!without_data()) {
      const auto report = [&](double share) { progress(share_done(share), site_name(plan)); };
      if (plan.expert >= 0 && expert_tokens.empty()) {
        expert_tokens =
            sum_of_ranks(stream_.route_tokens(block, options_.batch_tokens, report), ranks);
        few = experts_with_few_tokens(block, expert_tokens);
      }
      sums = collect(block, original, site, few.contains(plan.expert),
                     /*keep_original_outputs=*/!experts || experts->whole(), report);
      ++sites_done;
    }
    for (Linear* linear : block.site_linears(site)) {
      const PlannedMatrix* matrix = plan_.find(linear->name);
      if (!matrix) continue;
      if (!sums.empty()) {  // its own, or the site's
        const auto end = sums.begin() + options_.guided_groups;
        inputs.clear();
        if (options_.guided() ? owners.owns(*linear) : owners.owns_any(planned(block, site))) {
          for (auto sum = sums.begin(); sum != end; ++sum)
            inputs.push_back(statistics(std::move(*sum), *linear));
        }
        sums.erase(sums.begin(), end);
      }
      LinearSummary summary;
      summary.module = linear->name;
      summary.representation = to_string(matrix->spec);
      summary.method = method_name(matrix->method);
      summary.bits = bits_per_weight(matrix->spec, linear->out_features, linear->in_features);
      if (plan.expert >= 0 && !expert_tokens.empty())
        summary.expert_tokens = expert_tokens[static_cast<size_t>(plan.expert)];
      if (owners.owns(*linear)) dealt.push_back({linear, matrix, inputs, std::move(summary)});
      if (ranks.size() == 1) work_on_dealt({linear});
    }
    if (ranks.size() > 1 && options_.sequential()) work_on_dealt(block.site_linears(site));
  }
  if (ranks.size() > 1 && !options_.sequential()) work_on_dealt(block.linears());
  if (!few.empty())
    log_warning(few_tokens_message(block.index, few, all_windows_ * stream_.inputs().size(1)));
}

QuantizedModules BlockQuantizer::quantize(int64_t block_index, const BlockProgress& progress,
                                          const LinearObserver& observer) {
  block_.reset();
  QuantizedModules own, modules;  // of this rank, since the last exchange; of all
  {
    // Quantized matrices take their places in `block`; the original stays as it was.
    ExpertsInTurn experts(decoder_, block_index, with_original());
    const std::shared_ptr<Block> block = experts.block();
    BlockShare owners(*block, plan_, *context_.communicator);
    walk(
        *block, *experts.original(), &experts, owners, progress,
        [&](DealtLinear dealt) {
          quantize_linear(*dealt.linear, *dealt.matrix, *block, dealt.inputs,
                          std::move(dealt.summary), own, owners.note());
        },
        [&](const std::vector<Linear*>& linears) {
          owners.exchange(linears, options_.sequential(), std::exchange(own, QuantizedModules()),
                          modules, observer);
        });
    if (experts.whole()) block_ = block;
  }
  if (finetune_ && !modules.matrices.empty()) finetune(block_index, modules, progress);
  return modules;
}

void BlockQuantizer::each_objective(Block& block, const Block& original,
                                    const BlockProgress& progress, const ObjectiveUser& use) {
  BITSMITH_CHECK(options_.guided_groups == 1 && context_.communicator->size() == 1);
  walk(
      block, original, nullptr, BlockShare(block, plan_, Communicator::alone()), progress,
      [&](DealtLinear dealt) {
        Linear& linear = *dealt.linear;
        const torch::Tensor weight = read_matrix(decoder_.files(), linear.name, torch::kFloat32);
        const torch::Tensor factor = output_factor(linear, block, weight, dealt.summary);
        use(linear, weight, objective(weight, factor, dealt.inputs.front(), 1, dealt.summary));
      },
      [](const std::vector<Linear*>&) {});
}

void BlockQuantizer::finetune(int64_t block_index, QuantizedModules& modules,
                              const BlockProgress& progress) {
  progress(kHessianShare + kLinearsShare, "fine-tuning");
  block_.reset();
  const std::shared_ptr<Block> block = block_ = decoder_.load_block(block_index);
  BlockStream& targets = with_original() ? original_stream_ : stream_;
  if (!targets.outputs().defined())
    targets.make_outputs(*block, options_.batch_tokens, [](double) {});
  for (Linear* linear : block->linears()) {
    const auto found = modules.matrices.find(linear->name);
    if (found == modules.matrices.end()) continue;
    linear->representation = representation_from_format(found->second);
    linear->weight.reset();
  }
  const BlockFinetuneReport report =
      finetune_.train(decoder_, *block, stream_.inputs(), targets.outputs());
  for (Linear* linear : block->linears()) {
    const auto found = modules.matrices.find(linear->name);
    if (found != modules.matrices.end()) found->second = linear->representation->to_format();
  }
  for (const auto& [name, value] : report.dense) {
    modules.dense[name] = value.to(torch::kHalf).contiguous();
  }
  modules.finetune = {
      {"error_before", report.before}, {"error_after", report.after}, {"epochs", report.epochs}};
  modules.finetune_seconds = report.seconds;
}

void BlockQuantizer::advance_original(const Block& original,
                                      const std::function<void(double)>& progress) {
  if (!with_original()) return;
  if (original_stream_.outputs().defined())  // made on the walk through the block
    original_stream_.take_outputs();
  else
    original_stream_.advance(original, options_.batch_tokens, progress);
}

void BlockQuantizer::advance(const Block& block, const Block& original,
                             const BlockProgress& progress) {
  const auto report = outputs_progress(progress);
  advance_original(original, report);
  stream_.advance(block, options_.batch_tokens, report);
}

void BlockQuantizer::advance(int64_t block_index, const QuantizedModules& modules,
                             const BlockProgress& progress) {
  std::shared_ptr<Block> block = std::exchange(block_, nullptr);
  if (without_data()) return;
  if (!block || block->index != block_index) block = decoder_.load_block(block_index);
  const auto report = outputs_progress(progress);
  advance_original(*block, report);
  for (Linear* linear : block->linears()) {
    const auto found = modules.matrices.find(linear->name);
    if (found != modules.matrices.end())
      linear->weight = decode_matrix(found->second, decoder_.dtype());
  }
  for (const auto& [name, vector] : block->dense_vectors()) {
    const auto found = modules.dense.find(name);
    if (found != modules.dense.end()) *vector = found->second.to(decoder_.dtype());
  }
  stream_.advance(*block, options_.batch_tokens, report);
}

}  // namespace bitsmith
