#include "compressor/tune/step_work.h"

#include <algorithm>

namespace bitsmith {
namespace {

double weight_count(const LinearPlan& linear) {
  return static_cast<double>(linear.out_features) * static_cast<double>(linear.in_features);
}

// Weights of a block that a token is multiplied with.
double active_weights(const BlockPlan& block) {
  double all = 0;
  for (const LinearPlan* linear : linears(block)) all += weight_count(*linear);
  if (!block.experts) return all;
  double of_experts = 0;
  for (const MlpPlan& expert : block.experts->experts) {
    for (const LinearPlan& input : expert.inputs) of_experts += weight_count(input);
    of_experts += weight_count(expert.output);
  }
  const double share = static_cast<double>(block.experts->experts_per_token) /
                       static_cast<double>(block.experts->experts.size());
  return all - (1 - share) * of_experts;
}

// flops of a token in one of attention's products, q k^T for instance.
double attention_product(const AttentionPlan& plan, int64_t length) {
  const auto l = static_cast<double>(length);
  const double window = plan.window > 0 ? std::min(l, static_cast<double>(plan.window)) : l;
  const double keys = window - window * (window - 1) / (2 * l);  // that a query sees, on average
  return 2 * keys * static_cast<double>(plan.q_size());
}

double bytes_of(const torch::Tensor& tensor) { return static_cast<double>(tensor.nbytes()); }

}  // namespace

double PartWork::seconds(double gemm_rate, double bandwidth) const {
  return std::max(flops / gemm_rate, bytes / bandwidth);
}

StepWork step_work(Student& student, const StepShape& shape) {
  const ModelPlan& plan = student.decoder().plan();
  const auto tokens = static_cast<double>(shape.windows * shape.length);
  StepWork work;
  const auto of = [&](StepPart part) -> PartWork& { return work[static_cast<size_t>(part)]; };

  double forward = 0, backward = 0;  // flops of a token
  for (const BlockPlan& block : plan.blocks) {
    const double product = attention_product(block.attention, shape.length);
    forward += 2 * active_weights(block) + 2 * product;
    backward += 4 * active_weights(block) + 5 * product;
  }
  of(StepPart::kTeacher).flops = of(StepPart::kStudent).flops = forward * tokens;
  of(StepPart::kBackward).flops = backward * tokens;
  // Logits of both models, and the gradient of the student's by its hidden states and, where the
  // head learns, by the head.
  const double head_products = student.decoder().head().weight.requires_grad() ? 4 : 3;
  of(StepPart::kLoss).flops =
      head_products * 2 * static_cast<double>(student.decoder().head().weight.numel()) * tokens;

  for (TunedLinear& tuned : student.linears()) {
    const double gradient = bytes_of(tuned.gradient);
    const double codes = bytes_of(tuned.representation().coded().codes());
    of(StepPart::kBackward).bytes += gradient;
    of(StepPart::kContinuous).bytes += gradient + codes;
    of(StepPart::kDequantize).bytes += codes + bytes_of(tuned.linear->weight);
    if (!tuned.rule) continue;
    of(StepPart::kOptimizer).bytes += gradient;
    tuned.rule->visit(tuned.linear->name, [&](const std::string&, torch::Tensor& state) {
      if (state.defined()) of(StepPart::kOptimizer).bytes += 2 * bytes_of(state);
    });
    if (!shape.searches_codes) continue;
    of(StepPart::kOptimizer).bytes += gradient;  // the direction
    of(StepPart::kCodes).bytes += gradient;
  }
  return work;
}

double products(const StepWork& work) {
  double sum = 0;
  for (const PartWork& part : work) sum += part.flops;
  return sum;
}

}  // namespace bitsmith
