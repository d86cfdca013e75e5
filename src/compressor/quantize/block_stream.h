// The activations of all windows on their way through a block, site by site: what one matrix made
// of them is kept until the next is asked for, so that no part of a block runs twice for its sites.
#pragma once
#include <torch/torch.h>

#include <algorithm>

#include "compressor/model/decoder.h"

namespace bitsmith {

// task(first, count) for chunks of about `tokens` tokens of the windows of activations [windows,
// length, hidden], before each progress(share done).
template <typename Progress, typename Task>
void each_window_chunk(const torch::Tensor& activations, int64_t tokens, const Progress& progress,
                       const Task& task) {
  const int64_t windows = activations.size(0);
  const int64_t at_once = std::max<int64_t>(1, tokens / activations.size(1));
  for (int64_t first = 0; first < windows; first += at_once) {
    progress(static_cast<double>(first) / static_cast<double>(windows));
    task(first, std::min(at_once, windows - first));
  }
}

class BlockStream {
 public:
  // inputs [windows, length, hidden] of the block, which stay as they are until set_inputs().
  BlockStream(const Decoder& decoder, const RotaryTable& rotary, torch::Tensor inputs);

  const torch::Tensor& inputs() const { return inputs_; }
  void set_inputs(torch::Tensor inputs);

  // Inputs [count, length, features] of a site for windows [first, first + count). Sites are
  // visited in their order, each by all windows from the first on; the block's matrices before the
  // site are used as they are now. With keep_outputs the last site makes the block's outputs too.
  torch::Tensor site_inputs(const Block& block, InputSite site, int64_t first, int64_t count,
                            bool keep_outputs);
  // [windows, length, hidden], kept by the last visit of the last site; undefined if there was
  // none.
  const torch::Tensor& outputs() const { return outputs_; }

 private:
  const Decoder& decoder_;
  const RotaryTable& rotary_;
  torch::Tensor inputs_;
  torch::Tensor present_, next_;  // what the site starts from, and what it leaves to the next
  torch::Tensor outputs_;
};

}  // namespace bitsmith
