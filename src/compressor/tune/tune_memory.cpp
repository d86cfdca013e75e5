#include "compressor/tune/tune_memory.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "compressor/model/attention.h"
#include "compressor/model/gemm_rate.h"
#include "compressor/representation/term.h"

namespace bitsmith {
namespace {

constexpr uint64_t kProgram = uint64_t{300} << 20;
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

// Of one matrix: codes, with the copy that their owner makes for other ranks to see what a search
// changes; continuous parameters in float32 with the copy that a validation puts aside, and two
// moments, which are float32 at most and the owner's.
int64_t value_bytes(const LinearPlan& matrix, const RepresentationSpec& spec, int ranks) {
  const CodeLayout codes = visit_coded(spec.terms.front(), [&](const auto& coded) {
    return coded.code_layout(matrix.out_features, matrix.in_features);
  });
  int64_t bytes = static_cast<int64_t>(c10::elementSize(code_dtype(codes.nbits))) *
                  matrix.out_features * codes.column_groups * codes.count;
  if (ranks > 1) bytes += bytes / ranks;
  for (const PartLayout& part : part_layout(spec, matrix.out_features, matrix.in_features)) {
    if (part.dtype != DType::F16 && part.name != "codebooks") continue;
    const int64_t each = 8 * element_count(part.shape);
    bytes += each + each / ranks;
  }
  return bytes;
}

int64_t element_bytes(const TuneOptions& options) {
  return run_dtype(options) == "float32" ? 4 : 2;
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

// What a forward pass keeps of a window for the backward pass.
int64_t window_activation_bytes(const ModelPlan& plan, const TuneOptions& options, int64_t length,
                                int64_t element) {
  int64_t all = 0, most = 0;  // of the blocks, of one
  for (const BlockPlan& block : plan.blocks) {
    const int64_t own = length * kept_values(block, plan.hidden_size) * element +
                        attention_score_bytes(block.attention, length, element);
    all += own;
    most = std::max(most, own);
  }
  if (!options.recompute_activations) return all;
  // The inputs of all blocks, the outputs of the last, and one block that runs again.
  return length * (plan.num_blocks() + 1) * plan.hidden_size * element + most;
}

// Of a pass over the blocks (code_pass.h), about: activations of all its windows in both models,
// the sums of one site, and what a matrix's objective takes beside them.
int64_t pass_bytes(const ModelFiles& quantized, const TuneOptions& options, int64_t element) {
  if (!options.has_passes()) return 0;
  const ModelPlan& plan = quantized.plan();
  const bool toward_teacher = find_code_rule(options.strategy).pass == CodePass::kSecondPass;
  const int64_t streams = toward_teacher ? 2 : 1;
  // Hessians in float64; with a cross term cross sums too, and each in halves.
  const int64_t sums = 8 * (toward_teacher ? 4 : 1);
  int64_t widest = plan.hidden_size, linears_of_model = 0, most = 0;
  for (const BlockPlan& block : plan.blocks) {
    widest = std::max(widest, block.attention.q_size());
    for (const Site& site : sites(block)) {
      const auto linears_of_site = std::ssize(site.linears);
      linears_of_model += linears_of_site;
      // Factors in float64 and Hessians in float32 of the one that is searched.
      most = std::max(most, site.features * site.features * (sums * linears_of_site + 40));
    }
  }
  const int64_t tokens = options.pass.tokens;
  return tokens * (streams * 2 * widest * element + 4 * linears_of_model) + most;
}

}  // namespace

std::string run_dtype(const TuneOptions& options) {
  if (options.dtype != "auto") return options.dtype;
  return gemm_rates().bfloat16_is_faster() ? "bfloat16" : "float32";
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

double trained_bytes_a_weight(const ModelFiles& quantized, const TuneOptions& options, int ranks) {
  const int64_t element = element_bytes(options);
  int64_t weights = 0, bytes = 0;
  each_trained_matrix(quantized, options, [&](const LinearPlan& matrix, const auto& spec) {
    const int64_t own = weights_of(matrix);
    weights += own;
    bytes += own * element + own * 4 / ranks + value_bytes(matrix, spec, ranks);
  });
  const auto state = static_cast<double>(rule_state_bytes(quantized, options)) / ranks;
  return weights > 0 ? (static_cast<double>(bytes) + state) / static_cast<double>(weights) : 0;
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
  const int64_t element = element_bytes(options);
  int64_t weights = weights_of(plan.embedding);
  if (!plan.tied) weights += weights_of(plan.head);
  for (const BlockPlan& block : plan.blocks) {
    for (const LinearPlan* linear : linears(block)) weights += weights_of(*linear);
  }
  int64_t trained = 0;               // bytes: of sums of gradients, and values
  int64_t learned = 0, largest = 0;  // weights: of all matrices, of one
  each_trained_matrix(quantized, options, [&](const LinearPlan& matrix, const auto& spec) {
    // Each rank sums those of what it owns, and has room for another's.
    const int64_t incoming = ranks > 1 ? element : 0, own = weights_of(matrix);
    trained += own * (4 + incoming) / ranks + value_bytes(matrix, spec, ranks);
    learned += own;
    largest = std::max(largest, own);
  });
  // As the backward pass makes gradients: one by one, or all of them on their way to their owners.
  trained += (ranks > 1 ? learned : largest) * element;
  // Of a micro-batch: the head's gradient, and its sum with the embedding's.
  const int64_t outer =
      trained_outer_weights(quantized, options) * (4 + 2 * element + kOuterStepBytes);
  const int64_t logits = 2 * kLogitRows * plan.vocab_size * element;
  const int64_t activations =
      options.micro_windows(length) * window_activation_bytes(plan, options, length, element);
  // Passes come between the steps.
  const int64_t passing = std::max(activations, pass_bytes(quantized, options, element));
  return static_cast<uint64_t>(2 * weights * element + trained + outer + logits + passing) +
         (options.offload_optimizer ? 0 : rule_state_bytes(quantized, options) / ranks) + kProgram;
}

int64_t finetune_memory_bytes(const QuantizationPlan& plan, const ModelPlan& model,
                              int64_t batch_tokens, int64_t length, int64_t element) {
  // A weight of the matrix whose gradient is being passed on; more through rotations that learn.
  constexpr int64_t kStepBytes = 16, kRealSignBytes = 12;
  constexpr int64_t kValueCopies =
      3;  // the best values, the present ones, those that are projected
  const int64_t windows = std::max<int64_t>(1, batch_tokens / length);
  int64_t most = 0;
  for (const BlockPlan& block : model.blocks) {
    int64_t bytes = 0, step = 0;
    for (const LinearPlan* linear : linears(block)) {
      const int64_t own = weights_of(*linear);
      bytes += own * element;
      const PlannedMatrix* matrix = plan.find(linear->name);
      if (matrix == nullptr) continue;
      bytes += 4 * own + kValueCopies * value_bytes(*linear, matrix->spec, /*ranks=*/1);
      const auto& transform = matrix->spec.transform;
      const bool real_signs = transform && transform->real_signs;
      step = std::max(step, own * (kStepBytes + (real_signs ? kRealSignBytes : 0)));
    }
    // Inputs, targets, outputs and what the loss makes of these in float32.
    const int64_t beside = model.hidden_size * (4 * element + 12);
    const int64_t values = kept_values(block, model.hidden_size) * element;
    bytes += windows *
             (length * (values + beside) + attention_score_bytes(block.attention, length, element));
    most = std::max(most, bytes + step);
  }
  return most;
}

int64_t fitting_micro_tokens(const ModelFiles& quantized, TuneOptions options, int64_t length,
                             uint64_t bytes) {
  const int64_t asked = options.micro_tokens;
  while (tune_memory_bytes(quantized, options, length) > bytes) {
    if (options.micro_windows(length) == 1) return asked;
    options.micro_tokens /= 2;
  }
  return options.micro_tokens;
}

}  // namespace bitsmith
