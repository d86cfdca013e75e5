#include "compressor/tune/tune_memory.h"

#include <cmath>

#include "compressor/model/attention.h"
#include "kernels/cpu_features.h"

namespace bitsmith {
namespace {

constexpr uint64_t kProgram = uint64_t{400} << 20;
constexpr int64_t kLogitRows = 256;  // whose logits exist at a time, of both models
// What a step makes of a matrix: its direction, target, dequantized weights and their gradients.
// Those of the blocks are small beside the rest.
constexpr int64_t kOuterStepBytes = 40;

// f(matrix, spec) for the quantized matrices that learn.
template <typename F>
void each_trained_matrix(const ModelFiles& files, const TuneOptions& options, const F& f) {
  const ModelPlan& plan = files.plan();
  const auto visit = [&](const LinearPlan& matrix) {
    if (const auto spec = files.spec(matrix.name)) f(matrix, *spec);
  };
  for (const BlockPlan& block : plan.blocks) {
    for (const LinearPlan* linear : linears(block)) visit(*linear);
  }
  const TrainedParts parts = options.trained_parts();
  if (parts.embedding) visit(plan.embedding);
  if (parts.head && !plan.tied) visit(plan.head);
}

int64_t weights_of(const LinearPlan& matrix) { return matrix.out_features * matrix.in_features; }

// Of one matrix: codes in 32 bits and continuous parameters in float32, each with the copy that a
// validation puts aside; the latter with two moments, which are float32 at most and its owner's.
int64_t value_bytes(const LinearPlan& matrix, const RepresentationSpec& spec, int ranks) {
  const CodeLayout codes = visit_coded(spec.terms.front(), [&](const auto& coded) {
    return coded.code_layout(matrix.out_features, matrix.in_features);
  });
  int64_t bytes = 8 * matrix.out_features * codes.column_groups * codes.count;
  for (const PartLayout& part : part_layout(spec, matrix.out_features, matrix.in_features)) {
    if (part.dtype != DType::F16) continue;
    const int64_t each = 8 * element_count(part.shape);
    bytes += each + each / ranks;
  }
  return bytes;
}

// Values of a token that the backward pass of a block needs: inputs and outputs of its norms, what
// its linears and its attention read, and the factors of products.
int64_t kept_values(const BlockPlan& block, int64_t hidden) {
  const AttentionPlan& attention = block.attention;
  int64_t values = 4 * hidden;  // the inputs of attention and MLP, before and after their norms
  if (block.attention_output_norm.exists()) values += hidden;
  if (block.mlp_output_norm.exists()) values += hidden;
  values += 2 * attention.q_size() + 2 * attention.kv_size();  // q, k, v and the outputs
  if (attention.q_norm.exists()) values += attention.q_size();
  if (attention.k_norm.exists()) values += attention.kv_size();
  const MlpPlan& mlp = block.mlp ? *block.mlp : block.experts->experts.front();
  const bool fused = mlp.gated && mlp.activation == Activation::kSilu;
  const int64_t of_mlp = (fused ? 3 : mlp.gated ? 4 : 2) * mlp.width;
  if (!block.experts) return values + of_mlp;
  return values + block.experts->experts_per_token * (of_mlp + 2 * hidden);
}

}  // namespace

std::string run_dtype(const TuneOptions& options) {
  if (options.dtype != "auto") return options.dtype;
  return has_bfloat16_products() ? "bfloat16" : "float32";
}

int64_t trained_outer_weights(const ModelFiles& quantized, const TuneOptions& options) {
  const ModelPlan& plan = quantized.plan();
  int64_t weights = 0;
  each_trained_matrix(quantized, options, [&](const LinearPlan& matrix, const auto&) {
    if (matrix.name == plan.embedding.name || matrix.name == plan.head.name)
      weights += weights_of(matrix);
  });
  return weights;
}

uint64_t rule_state_bytes(const ModelFiles& quantized, const TuneOptions& options) {
  int64_t weights = 0;
  each_trained_matrix(quantized, options, [&](const LinearPlan& matrix, const auto&) {
    weights += weights_of(matrix);
  });
  const double each =
      state_bytes_a_weight(find_code_rule(options.strategy), options.code_options().adam.moments);
  return static_cast<uint64_t>(std::ceil(static_cast<double>(weights) * each));
}

uint64_t tune_memory_bytes(const ModelFiles& quantized, const TuneOptions& options, int64_t length,
                           int ranks) {
  const ModelPlan& plan = quantized.plan();
  const int64_t element = run_dtype(options) == "float32" ? 4 : 2;
  int64_t weights = weights_of(plan.embedding);
  if (!plan.tied) weights += weights_of(plan.head);
  int64_t values = 0, scores = 0;  // of a token; bytes of a window
  for (const BlockPlan& block : plan.blocks) {
    for (const LinearPlan* linear : linears(block)) weights += weights_of(*linear);
    values += kept_values(block, plan.hidden_size);
    scores += attention_score_bytes(block.attention, length, element);
  }
  int64_t trained = 0;  // bytes: gradients, in float32 and as the backward pass makes them, values
  each_trained_matrix(quantized, options, [&](const LinearPlan& matrix, const auto& spec) {
    // Each rank sums those of what it owns, and has room for another's.
    const int64_t incoming = ranks > 1 ? element : 0;
    trained += weights_of(matrix) * element + weights_of(matrix) * (4 + incoming) / ranks +
               value_bytes(matrix, spec, ranks);
  });
  // Of a micro-batch: the head's gradient, and its sum with the embedding's.
  const int64_t outer =
      trained_outer_weights(quantized, options) * (4 + 2 * element + kOuterStepBytes);
  const int64_t logits = 2 * kLogitRows * plan.vocab_size * element;
  const int64_t activations = options.micro_windows(length) * (length * values * element + scores);
  return static_cast<uint64_t>(2 * weights * element + trained + outer + logits + activations) +
         (options.offload_optimizer ? 0 : rule_state_bytes(quantized, options) / ranks) + kProgram;
}

}  // namespace bitsmith
