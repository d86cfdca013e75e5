// A block on the way back: gradients flow from its outputs to its inputs, and what passes the
// outputs of its linears is summed up.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "compressor/model/decoder.h"
#include "compressor/objective/hessian_sum.h"
#include "compressor/quantize_model/output_gradients.h"

namespace bitsmith {

class BlockBackward {
 public:
  // inputs [windows, length, hidden]: the block's, of all windows that will run.
  BlockBackward(const Decoder& decoder, Block& block, const RotaryTables& rotary,
                const std::set<std::string>& modules, const torch::Tensor& inputs,
                const GradientPassOptions& options);
  BlockBackward(const BlockBackward&) = delete;  // the observers hold its address
  BlockBackward& operator=(const BlockBackward&) = delete;

  // inputs [count, length, hidden] of some windows, the first token's number, and the loss's
  // gradient at their outputs; returns that at the inputs.
  torch::Tensor run(const torch::Tensor& inputs, int64_t first_token,
                    const torch::Tensor& gradient);

  // Whether it has any of the modules.
  bool has_linears() const { return !sums_.empty(); }
  // Error where a gradient is not finite.
  void take(OutputGradients& all) const;
  SecondMoments moments() const;

 private:
  struct Sums {
    std::string module;
    size_t site;
    torch::Tensor tokens;              // [row groups, tokens] float32
    torch::Tensor rows;                // [out] float64
    std::optional<HessianSum> moment;  // where samples are asked for
  };

  // feedback_ of the sites that have sums.
  void find_feedback(const torch::Tensor& inputs, const GradientPassOptions& options);
  // As Decoder::run_block(), with the routing kept.
  torch::Tensor outputs(const torch::Tensor& x);
  // What the linear of `sums` was given, [..., in], and the gradient at its outputs [..., out].
  void add(Sums& sums, const torch::Tensor& inputs, const torch::Tensor& gradient);
  // x [n, in], g [n, out] of tokens at rising `places` of the windows that run.
  void add_windows(Sums& sums, const torch::Tensor& x, const torch::Tensor& g,
                   const torch::Tensor& places) const;

  const Decoder& decoder_;
  Block& block_;
  const RotaryTables& rotary_;
  const GradientSamples samples_;
  int64_t length_;
  std::vector<Sums> sums_;
  std::vector<torch::Tensor> feedback_;  // of each site, [in, in]; for samples of windows
  int64_t first_token_ = 0;
  torch::Tensor chosen_;  // [tokens, experts_per_token], of the windows that run
};

}  // namespace bitsmith
