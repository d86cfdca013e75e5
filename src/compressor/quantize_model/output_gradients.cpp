#include "compressor/quantize_model/output_gradients.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "compressor/quantize_model/block_backward.h"
#include "compressor/quantize_model/block_stream.h"
#include "compressor/quantize_model/sampled_loss.h"

namespace bitsmith {
namespace {

// The gradient of the loss at the last block's outputs, in place of them.
void to_loss_gradients(const Decoder& decoder, const torch::Tensor& outputs,
                       std::span<const double> uniforms, const GradientPassOptions& options,
                       const std::function<void(double)>& progress) {
  const int64_t length = outputs.size(1);
  each_window_chunk(outputs, options.batch_tokens, progress, [&](int64_t first, int64_t count) {
    const torch::AutoGradMode with_gradients(true);
    const torch::Tensor chunk = outputs.narrow(0, first, count);
    torch::Tensor x = chunk.detach().clone().requires_grad_(true);
    const torch::Tensor hidden = decoder.final_norm(x).flatten(0, 1);
    hidden.backward(sampled_loss(hidden.detach(), decoder.head(),
                                 uniforms.subspan(static_cast<size_t>(first * length),
                                                  static_cast<size_t>(count * length)))
                        .grad_hidden);
    const torch::NoGradGuard no_grad;
    chunk.copy_(x.grad());
  });
}

}  // namespace

torch::Tensor token_weights(const LinearGradients& gradients, int64_t row_group, double share) {
  const torch::Tensor tokens = gradients.tokens[row_group];
  const torch::Tensor there = tokens >= 0;
  const double sum = tokens.clamp_min(0).sum(torch::kDouble).item<double>();
  if (!(sum > 0)) return torch::ones_like(tokens);
  const double mean = sum / static_cast<double>(there.sum().item<int64_t>());
  return torch::where(there, tokens * (share / mean) + (1 - share), torch::ones_like(tokens));
}

torch::Tensor row_weights(const LinearGradients& gradients) {
  const double mean = gradients.rows.mean(torch::kDouble).item<double>();
  if (!(mean > 0)) return torch::ones_like(gradients.rows);
  return (gradients.rows / mean).clamp_min(kLeastRowWeight);
}

LinearGradients joined(const std::vector<LinearGradients>& parts) {
  BITSMITH_CHECK(!parts.empty());
  std::vector<torch::Tensor> tokens;
  torch::Tensor rows = torch::zeros_like(parts[0].rows, torch::kDouble);
  int64_t seen = 0;
  for (const LinearGradients& part : parts) {
    const int64_t own = (part.tokens[0] >= 0).sum().item<int64_t>();
    tokens.push_back(part.tokens);
    rows.add_(part.rows.to(torch::kDouble) * own);
    seen += own;
  }
  return {torch::cat(tokens, 1), (rows / std::max<int64_t>(seen, 1)).to(torch::kFloat32)};
}

OutputGradients output_gradients(const Decoder& decoder, const torch::Tensor& windows,
                                 const std::set<std::string>& modules,
                                 const GradientPassOptions& options,
                                 const std::function<void(double)>& progress,
                                 const MomentSink& take_moments) {
  const torch::NoGradGuard no_grad;
  const int64_t blocks = decoder.plan().num_blocks(), length = windows.size(1);
  const RotaryTables rotary = decoder.rotary(length);
  // Of the way there, in units of a block's pass forward; back they count twice.
  const double steps = 3.0 * static_cast<double>(blocks) + 1;
  const auto report_from = [&](double begin, double cost) {
    return
        [&progress, begin, cost, steps](double share) { progress((begin + cost * share) / steps); };
  };

  std::vector<torch::Tensor> inputs;  // of each block
  torch::Tensor x = decoder.embed(windows);
  for (int64_t i = 0; i < blocks; ++i) {
    const auto block = decoder.load_block(i);
    const torch::Tensor outputs = torch::empty_like(x);
    each_window_chunk(x, options.batch_tokens, report_from(static_cast<double>(i), 1),
                      [&](int64_t first, int64_t count) {
                        outputs.narrow(0, first, count)
                            .copy_(decoder.run_block(*block, x.narrow(0, first, count), rotary));
                      });
    inputs.push_back(std::exchange(x, outputs));
  }

  const std::vector<double> uniforms =
      label_uniforms(options.seed, options.first_window, windows.size(0), length);
  to_loss_gradients(decoder, x, uniforms, options, report_from(static_cast<double>(blocks), 1));
  OutputGradients all;
  for (int64_t i = blocks - 1; i >= 0; --i) {
    const auto block = decoder.load_block(i);
    BlockBackward backward(decoder, *block, rotary, modules, inputs.back(), options);
    const double begin =
        static_cast<double>(blocks) + 1 + 2.0 * static_cast<double>(blocks - 1 - i);
    each_window_chunk(
        x, options.batch_tokens, report_from(begin, 2), [&](int64_t first, int64_t count) {
          const torch::Tensor gradient = x.narrow(0, first, count);
          gradient.copy_(
              backward.run(inputs.back().narrow(0, first, count), first * length, gradient));
        });
    backward.take(all);
    if (take_moments && backward.has_linears()) take_moments(i, backward.moments());
    inputs.pop_back();
  }
  return all;
}

}  // namespace bitsmith
