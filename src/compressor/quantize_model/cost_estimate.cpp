// What quantizing a model will take, before it starts.
#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "compressor/model/attention.h"
#include "compressor/model/gemm_rate.h"
#include "compressor/quantize_model/gradient_stage.h"
#include "compressor/quantize_model/moment_files.h"
#include "compressor/quantize_model/outer_quantizer.h"
#include "compressor/quantize_model/quantization_plan.h"

namespace bitsmith {
namespace {

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double product_rate(torch::Dtype dtype) {  // floating-point operations a second
  return gemm_rate(dtype, /*tokens=*/1024, /*in=*/1024, /*out=*/1024, /*repeats=*/4);
}

// What one matrix takes: a fixed part (tables, factors of the Hessian) and one that grows with it.
struct QuantizerCost {
  double fixed_seconds, seconds_per_weight;
};

// A matrix of fewer inputs that stands for one of many: whole factors of a wide Hessian would cost
// more than the work that is estimated.
constexpr int64_t kProbeInputs = 1536;
constexpr int kProbeRounds = 16;  // more are rare, and cost as much as they say

// A part of the matrix's inputs, `most` or fewer; all of them where no part fits.
int64_t probe_inputs(const PlannedMatrix& matrix, int64_t most) {
  const int64_t in = matrix.shape.in_features;
  for (int64_t share = (in + most - 1) / most; share < in; ++share) {
    if (in % share != 0) continue;
    try {
      check_quantizable(matrix.spec, matrix.shape.out_features, in / share);
      return in / share;
    } catch (const UsageError&) {
    }
  }
  return in;
}

torch::Tensor random_second_moment(int64_t n) {
  const torch::Tensor x = torch::randn({64, n});
  return torch::mm(x.t(), x) / 32 + torch::eye(n);
}

// Of a matrix with `in` inputs, from two with few rows; with_factor: that have a full output
// factor.
QuantizerCost measured_cost(const PlannedMatrix& matrix, const QuantizeOptions& options,
                            bool with_factor, int64_t in) {
  const torch::Tensor hessian = random_second_moment(in);
  QuantizeOptions probe = options;
  RepresentationSpec spec = with_kept_rows(matrix.spec, 0);  // they cost next to nothing
  spec.transform.reset();  // costs little, and few rows may not fit its blocks
  probe.method = matrix.method;
  probe.max_rounds = std::min(probe.max_rounds, kProbeRounds);
  const auto seconds_for = [&](int64_t rows) {
    const torch::Tensor weight = torch::randn({rows, in});
    Objective objective(hessian);
    if (with_factor) objective.output_factor = random_second_moment(rows);
    return seconds_of([&] { quantize_linear(weight, objective, spec, probe); });
  };
  int64_t few = std::max<int64_t>(1, 32768 / in);
  // Twice as many vectors as a codebook has.
  few = std::max(few, 2 * least_rows(spec, matrix.shape.out_features, in));
  const int64_t many = 3 * few;
  const double short_time = seconds_for(few), long_time = seconds_for(many);
  const double slope =
      std::max(0.0, long_time - short_time) / static_cast<double>((many - few) * in);
  return {std::max(0.0, short_time - slope * static_cast<double>(few * in)), slope};
}

// A wide matrix's follows from narrower ones. With n inputs the factors of the Hessian cost n^3,
// tables n; of a weight, products cost n and searches always the same.
QuantizerCost quantizer_cost(const PlannedMatrix& matrix, const QuantizeOptions& options,
                             bool with_factor) {
  const int64_t all = matrix.shape.in_features, in = probe_inputs(matrix, kProbeInputs);
  const QuantizerCost found = measured_cost(matrix, options, with_factor, in);
  if (in == all) return found;
  const double wider = static_cast<double>(all) / static_cast<double>(in);
  double factor = 0;
  if (matrix.method != Method::kRtn) {
    const Objective objective(random_second_moment(in));
    factor =
        std::min(found.fixed_seconds, seconds_of([&] { objective.factor(in, options.damping); }));
  }
  const double proportional = found.seconds_per_weight * wider;
  double per_weight = proportional;
  if (const int64_t narrow = probe_inputs(matrix, std::max<int64_t>(1, in / 2)); narrow < in) {
    const double slower = found.seconds_per_weight -
                          measured_cost(matrix, options, with_factor, narrow).seconds_per_weight;
    const double steps = static_cast<double>(all - in) / static_cast<double>(in - narrow);
    per_weight = std::min(proportional, found.seconds_per_weight + std::max(0.0, slower) * steps);
  }
  return {factor * wider * wider * wider + (found.fixed_seconds - factor) * wider, per_weight};
}

// What a full output factor adds that grows with the square of the outputs, which few rows do not
// show: feedback over rows on one thread, and the products of some rounds (`rate`).
double output_factor_seconds(const PlannedMatrix& matrix, const QuantizeOptions& options,
                             double rate) {
  constexpr double kFeedbackRate = 2e9;  // rows that follow a weight, a second
  constexpr int kRounds = 8;             // that most matrices take
  constexpr double kProducts = 20;       // of G a round: conjugate gradients, codes, errors
  const auto out = static_cast<double>(matrix.shape.out_features);
  const double size = out * out * static_cast<double>(matrix.shape.in_features);
  const double feedback = feeds_rows_back(matrix.spec) ? size / 2 / kFeedbackRate : 0;
  return feedback + std::min(options.max_rounds, kRounds) * kProducts * 2 * size / rate;
}

// Of the largest block.
struct BlockSizes {
  int64_t weights = 0, largest = 0, widest_input = 0;
  int64_t held = 0;             // weights that a walk from site to site holds: of one expert
  double token_weights = 0;     // that a token passes
  double token_outputs = 0;     // of the linears that it passes
  double hessian_elements = 0;  // that a token adds to
  int64_t largest_sums = 0;     // elements of all Hessians of a site
  int64_t q_size = 0;
  int64_t outputs = 0;  // of all linears that a token passes
  // For output factors: elements that a token adds to, elements of all factors, of all sites'
  // Hessians.
  double factor_elements = 0;
  int64_t all_factors = 0, all_hessians = 0, widest_output = 0;
};

// own_sums: Hessians that each linear of a site has of its own; 0: all share one.
BlockSizes block_sizes(const BlockPlan& block, int64_t own_sums) {
  BlockSizes sizes;
  for (const LinearPlan* linear : linears(block)) {
    const int64_t weights = linear->out_features * linear->in_features;
    sizes.weights += weights;
    sizes.largest = std::max(sizes.largest, weights);
    sizes.widest_input = std::max(sizes.widest_input, linear->in_features);
    sizes.widest_output = std::max(sizes.widest_output, linear->out_features);
    sizes.all_factors += linear->out_features * linear->out_features;
  }
  for (const Site& site : sites(block)) {
    const double share = site.expert < 0 ? 1.0
                                         : static_cast<double>(block.experts->experts_per_token) /
                                               static_cast<double>(block.experts->experts.size());
    const auto features = static_cast<double>(site.features);
    const int64_t sums = own_sums > 0 ? own_sums * std::ssize(site.linears) : 1;
    sizes.hessian_elements += share * features * features * static_cast<double>(sums);
    sizes.largest_sums = std::max(sizes.largest_sums, sums * site.features * site.features);
    sizes.all_hessians += site.features * site.features;
    for (const LinearPlan* linear : site.linears) {
      const auto out = static_cast<double>(linear->out_features);
      sizes.factor_elements += share * out * out;
      sizes.token_outputs += share * static_cast<double>(linear->out_features);
      sizes.token_weights += share * features * static_cast<double>(linear->out_features);
      if (site.expert > 0) continue;  // experts run one by one
      sizes.outputs += linear->out_features;
      sizes.held += linear->out_features * linear->in_features;
    }
  }
  sizes.q_size = block.attention.q_size();
  return sizes;
}

BlockSizes block_sizes(const ModelPlan& plan, int64_t own_sums) {
  BlockSizes sizes;
  for (const BlockPlan& block : plan.blocks) {
    const BlockSizes own = block_sizes(block, own_sums);
    sizes.weights = std::max(sizes.weights, own.weights);
    sizes.held = std::max(sizes.held, own.held);
    sizes.largest = std::max(sizes.largest, own.largest);
    sizes.widest_input = std::max(sizes.widest_input, own.widest_input);
    sizes.token_weights = std::max(sizes.token_weights, own.token_weights);
    sizes.token_outputs = std::max(sizes.token_outputs, own.token_outputs);
    sizes.hessian_elements = std::max(sizes.hessian_elements, own.hessian_elements);
    sizes.largest_sums = std::max(sizes.largest_sums, own.largest_sums);
    sizes.q_size = std::max(sizes.q_size, own.q_size);
    sizes.outputs = std::max(sizes.outputs, own.outputs);
    sizes.factor_elements = std::max(sizes.factor_elements, own.factor_elements);
    sizes.all_factors = std::max(sizes.all_factors, own.all_factors);
    sizes.all_hessians = std::max(sizes.all_hessians, own.all_hessians);
    sizes.widest_output = std::max(sizes.widest_output, own.widest_output);
  }
  return sizes;
}

// `rate`: of products.
PassTime pass_time(const ModelPlan& model, const BlockSizes& sizes, double rate) {
  constexpr double kBesideProducts = 1.3;
  const double seconds_a_weight = 2.0 * kBesideProducts / rate;
  return {seconds_a_weight * sizes.token_weights * static_cast<double>(model.num_blocks()),
          seconds_a_weight * static_cast<double>(model.vocab_size * model.hidden_size)};
}

constexpr int64_t kProgram = int64_t{450} << 20;
constexpr int64_t kLogitRows = 256;  // that exist at one time

int64_t score_bytes(const ModelPlan& model, int64_t length, int64_t element) {
  int64_t scores = 0;
  for (const BlockPlan& block : model.blocks)
    scores = std::max(scores, attention_score_bytes(block.attention, length, element));
  return scores;
}

// Embedding and head with some logits, in passes from ids to logits.
int64_t ends_bytes(const ModelPlan& model, int64_t element) {
  const int64_t matrices = model.tied ? 1 : 2;
  return model.vocab_size * (matrices * model.hidden_size * element + kLogitRows * 16);
}

// Of judging at the end: the ends of one model and the head of the other, and few windows. Codes of
// the result's blocks have 4 bytes until they are decoded, one matrix after the other.
int64_t gap_bytes(const ModelPlan& model, const BlockSizes& sizes, int64_t length, int64_t forward,
                  int64_t element) {
  return ends_bytes(model, element) + model.vocab_size * model.hidden_size * element +
         4 * sizes.weights + 8 * sizes.largest +
         6 * kGapWindows * length * model.hidden_size * element + forward;
}

// Of the pass for gradients: the inputs of all blocks for the windows of a batch and their
// gradients, a block, and its values with gradients for one chunk.
int64_t gradient_pass_bytes(const ModelPlan& model, const BlockSizes& sizes, int64_t tokens,
                            int64_t length, int64_t chunk, int64_t element) {
  const int64_t windows = gradient_batch_windows(model, tokens / length);
  const auto values = static_cast<int64_t>(
      2.0 * static_cast<double>(chunk * element) *
      (8.0 * static_cast<double>(model.hidden_size) + 3.0 * sizes.token_outputs));
  return (model.num_blocks() + 2) * windows * length * model.hidden_size * element +
         sizes.weights * element + ends_bytes(model, element) + values +
         chunk / length * score_bytes(model, length, element);
}

// Beside that for the second moments of a block: float64 sums, their means, those read and written;
// with windows as samples the feedback of its sites.
int64_t moment_bytes(const BlockSizes& sizes) {
  return 20 * sizes.all_factors + 12 * sizes.all_hessians +
         28 * sizes.widest_input * sizes.widest_input;
}

// One matrix's output factor: three parts, what is made of them, the float64 factors.
int64_t factor_bytes(int64_t outputs) { return 60 * outputs * outputs; }

// One matrix's quantization: float32 weight, working copies, float64 factors of its Hessian.
int64_t matrix_bytes(int64_t weights, int64_t inputs) {
  return 40 * weights + 28 * inputs * inputs;
}

}  // namespace

void estimate_resources(QuantizationPlan& plan, const ModelPlan& model, int64_t tokens,
                        int64_t length, const QuantizeModelOptions& options,
                        const BlockFinetuner& finetune) {
  const BlockSizes sizes = block_sizes(model, options.guided() ? options.guided_groups : 0);
  const int64_t element = options.dtype == "bfloat16" ? 2 : 4;
  const int64_t chunk = std::max(options.batch_tokens, length);

  // Beside the activations of the whole data: on the walk from site to site the block with one
  // expert, and the larger of float64 sums of a site with a chunk's forward pass and of one
  // matrix's quantization; sums of its own each linear keeps until its turn. Then a pass through
  // the whole block.
  const int64_t forward = chunk * element * (4 * model.hidden_size + 2 * sizes.outputs) +
                          score_bytes(model, length, element);
  const int64_t widest = sizes.widest_input * sizes.widest_input;
  const int64_t streams = options.cross_term > 0 ? 2 : 1;  // of activations
  const int64_t blocks = options.sequential() ? streams : 1;
  const int64_t halves = options.uses_halves() ? 2 : 1;
  const int64_t halved = options.uses_halves() ? 8 * widest : 0;  // both halves' matrices
  const int64_t compared = options.shrink_hessian ? 28 * widest : 8 * widest;  // beside the sums
  const int64_t sums = 8 * streams * halves * sizes.largest_sums;
  const int64_t quantization = matrix_bytes(sizes.largest, sizes.widest_input) + halved +
                               (options.kronecker() ? factor_bytes(sizes.widest_output) : 0);
  const int64_t site = streams * chunk * sizes.widest_input * element;  // inputs of a linear
  const int64_t summing = sums + std::max(forward + site + 4 * widest, compared);
  const int64_t walk = blocks * sizes.held * element +
                       std::max(summing, quantization + (options.guided() ? sums : 0));
  const int64_t activations =
      streams * tokens * 2 * std::max(model.hidden_size, sizes.q_size) * element;
  int64_t bytes = activations + std::max(walk, sizes.weights * element + forward);
  if (finetune && tokens > 0)
    bytes = std::max(bytes, activations + finetune.memory_bytes(plan, model, length, element));
  // Embedding and head have no activations beside them.
  for (const auto& [module, matrix] : plan.matrices) {
    if (!is_outer_matrix(model, module)) continue;
    bytes = std::max(bytes, matrix_bytes(outer_slice_rows(matrix) * matrix.shape.in_features,
                                         matrix.shape.in_features));
  }
  if (tokens > 0) bytes = std::max(bytes, gap_bytes(model, sizes, length, forward, element));
  if (options.uses_gradients() && tokens > 0) {
    int64_t kept = 0, moments = 0;  // of the statistics, in files of second moments
    for (const auto& [module, matrix] : plan.matrices) {
      if (is_outer_matrix(model, module)) continue;
      kept += 4 * (options.guided_groups * tokens + matrix.shape.out_features);
      if (options.kronecker()) moments += 3 * moment_file_bytes(matrix.shape.out_features);
    }
    const int64_t pass = gradient_pass_bytes(model, sizes, tokens, length, chunk, element) +
                         (options.kronecker() ? moment_bytes(sizes) : 0);
    bytes = std::max(bytes, pass) + 2 * kept;  // read and joined
    plan.disk_bytes += static_cast<uint64_t>(kept + moments);
    if (options.kronecker())  // a file that is being replaced
      plan.disk_bytes += static_cast<uint64_t>(2 * sizes.all_factors);
  }
  plan.memory_bytes = static_cast<uint64_t>(kProgram + bytes);
}

PassTime pass_time(const ModelPlan& model, torch::Dtype dtype) {
  const torch::NoGradGuard no_grad;
  return pass_time(model, block_sizes(model, /*own_sums=*/0), product_rate(dtype));
}

QuantizeTime one_shot_time(const QuantizationPlan& plan, const ModelPlan& model,
                           const QuantizeModelOptions& options, const RunContext& context) {
  const torch::NoGradGuard no_grad;
  const BlockSizes sizes = block_sizes(model, options.guided() ? options.guided_groups : 0);
  const bool narrow = options.dtype == "bfloat16";
  const int streams = options.cross_term > 0 ? 2 : 1;
  const double rate = product_rate(narrow ? torch::kBFloat16 : torch::kFloat32);
  const double wide_rate = narrow ? product_rate(torch::kFloat32) : rate;
  const double passes = streams * 1.75;  // the sites, and the outputs
  const double products = passes * 2.0 * sizes.token_weights / rate * 1.3;
  const double sums = 2.0 * streams * sizes.hessian_elements / wide_rate;
  QuantizeOptions linear = options.linear;
  linear.cancel = context.cancel;
  QuantizeTime time;
  time.seconds_per_token = (products + sums) * static_cast<double>(plan.blocks);
  if (options.uses_gradients()) {
    const PassTime pass = pass_time(model, sizes, rate);
    // Forward, and back with the values computed anew.
    time.seconds_per_token += 3 * (pass.blocks + pass.head);
    if (options.kronecker()) {
      constexpr double kHeldOut = 0.25;  // of the windows
      const double of_tokens = (1 - kHeldOut) * sizes.factor_elements,
                   of_windows = kHeldOut * (sizes.hessian_elements + sizes.token_weights);
      time.seconds_per_token += kHeldOut * pass.blocks + 2 * (of_tokens + of_windows) / wide_rate *
                                                             static_cast<double>(plan.blocks);
    }
  }
  std::map<std::string, QuantizerCost> probed;  // by representation, method and inputs
  for (const auto& [module, matrix] : plan.matrices) {
    const bool with_factor =
        options.kronecker() && matrix.method != Method::kRtn && !is_outer_matrix(model, module);
    const std::string key =
        concat(to_string(matrix.spec), method_name(matrix.method),
               matrix.method == Method::kRtn ? 0 : matrix.shape.in_features, with_factor);
    if (context.cancelled())
      throw Interrupted("stopped while the time was estimated; the same command begins anew");
    if (!probed.contains(key)) probed[key] = quantizer_cost(matrix, linear, with_factor);
    const auto weights = static_cast<double>(matrix.shape.out_features * matrix.shape.in_features);
    time.fixed_seconds += probed[key].fixed_seconds + probed[key].seconds_per_weight * weights;
    if (with_factor) time.fixed_seconds += output_factor_seconds(matrix, linear, wide_rate);
  }
  return time;
}

QuantizeTime estimate_time(const QuantizationPlan& plan, const ModelPlan& model,
                           const QuantizeModelOptions& options, const RunContext& context) {
  QuantizeTime time = one_shot_time(plan, model, options, context);
  if (plan.needs_calibration()) {  // original and result run over a few windows
    constexpr int64_t kUsualLength = 1024;
    const int64_t judged = 2 * kGapWindows * std::min(kUsualLength, model.context);
    const PassTime pass =
        pass_time(model, options.dtype == "bfloat16" ? torch::kBFloat16 : torch::kFloat32);
    time.fixed_seconds += 2 * (pass.blocks + pass.head) * static_cast<double>(judged);
  }
  return time;
}

}  // namespace bitsmith
