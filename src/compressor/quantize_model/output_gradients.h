// Squared gradients of the model's sampled loss (sampled_loss.h) at the outputs of its linears:
// what tokens and rows count where the objective is the end loss (GuidedQuant, Kim et al. 2025).
#pragma once
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "compressor/model/decoder.h"
#include "compressor/objective/output_factor.h"
#include "compressor/torch.h"

namespace bitsmith {

// Of one linear, y its outputs and L the sum of the loss over all positions.
struct LinearGradients {
  // [row groups, tokens] float32: the mean over each group's rows of (dL/dy)^2; kNoGradient for
  // tokens that an expert does not get.
  torch::Tensor tokens;
  torch::Tensor rows;  // [out] float32: the mean of (dL/dy)^2 over the other tokens
};
inline constexpr float kNoGradient = -1;

// By module.
using OutputGradients = std::map<std::string, LinearGradients>;

// What a token counts in H and C of a group of rows [tokens], its mean one: `share` (0 to 1) of it
// by the squares, the rest alike. A token without a gradient (the quantized model may route
// otherwise than the original) counts as the mean. Ones where every gradient is zero.
torch::Tensor token_weights(const LinearGradients& gradients, int64_t row_group, double share);
// What a row counts in G [out]: the mean is one, the least kLeastRowWeight.
torch::Tensor row_weights(const LinearGradients& gradients);
inline constexpr float kLeastRowWeight = 1e-4f;

// The statistics over parts of the tokens, joined in their order.
LinearGradients joined(const std::vector<LinearGradients>& parts);

// What second moments of gradients at a linear's outputs are made of (OutputMoments). Tokens: g of
// each. Windows: the columns of D Ubar^T of each, Ubar that of the inputs of all windows that run.
enum class GradientSamples { kNone, kTokens, kWindows };
using SecondMoments = std::map<std::string, SecondMoment>;  // by module

struct GradientPassOptions {
  uint64_t seed = 0;            // of the labels
  int64_t first_window = 0;     // the number of the first window among all, for its labels
  int64_t batch_tokens = 4096;  // of a block's pass with gradients
  int64_t row_groups = 1;       // neighboring rows; divides the outputs of each module
  GradientSamples samples = GradientSamples::kNone;
  double damping = 0.01;  // of the Hessian that Ubar is made of
};

using MomentSink = std::function<void(int64_t block_index, const SecondMoments& moments)>;

// One forward and one backward pass of `windows` [n, length] int64 through the model as it is,
// block after block: the inputs of all blocks are kept, each block is read twice and its values are
// computed anew on the way back. `decoder` needs no blocks (load_without_blocks()). Tokens are
// numbered window by window. `progress` gets the share done, and may throw. Error where a gradient
// is not finite. take_moments, when given, gets the second moments of each block that has any of
// the modules, the last block first; so only one block's exist at a time.
OutputGradients output_gradients(const Decoder& decoder, const torch::Tensor& windows,
                                 const std::set<std::string>& modules,
                                 const GradientPassOptions& options,
                                 const std::function<void(double)>& progress,
                                 const MomentSink& take_moments = {});

}  // namespace bitsmith
