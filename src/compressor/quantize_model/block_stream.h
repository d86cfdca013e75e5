// The activations of all windows on their way through a block, site by site: what attention and the
// sum after it made of them is kept until the next site is asked for, so that these do not run
// twice.
#pragma once
#include <algorithm>
#include <functional>
#include <vector>

#include "compressor/model/decoder.h"
#include "compressor/torch.h"

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

// Two buffers for the whole way through a model, each of the wider of block and attention; blocks
// allocate no activations of all windows. What a site leaves to the next overwrites, window by
// window, what it started from.
class BlockStream {
 public:
  // inputs [windows, length, hidden] of the first block, of which there may be none; changed in
  // place from then on.
  BlockStream(const Decoder& decoder, const RotaryTables& rotary, torch::Tensor inputs);

  // [windows, length, hidden] of the present block.
  const torch::Tensor& inputs() const { return inputs_; }

  // Between the attention's sites and those of experts: passes all windows on through attention,
  // a chunk of about `tokens` tokens at a time, and asks the router. Returns how many tokens each
  // expert gets.
  std::vector<int64_t> route_tokens(const Block& block, int64_t tokens,
                                    const std::function<void(double)>& progress);
  // Which tokens of windows [first, first + count) the router sends to a site of an expert: rows
  // of [count * length]; with all_tokens every one. Undefined for other sites: all.
  torch::Tensor tokens_of(const Block& block, size_t site, int64_t first, int64_t count,
                          bool all_tokens) const;
  // Inputs of a site for windows [first, first + count): [count, length, features], or where
  // `tokens` (rows of [count * length]) is defined [tokens, features]; an expert's sites need it.
  // Sites are visited in their order, each by all windows from the first on; the block's matrices
  // before the site are used as they are now. With keep_outputs the last site makes the block's
  // outputs too.
  torch::Tensor site_inputs(const Block& block, size_t site, int64_t first, int64_t count,
                            const torch::Tensor& tokens, bool keep_outputs);
  // [windows, length, hidden], kept by the last visit of the last site; undefined if there was
  // none.
  const torch::Tensor& outputs() const { return outputs_; }

  // Makes outputs() in place of a visit, through `block`, a chunk of about `tokens` tokens at a
  // time.
  void make_outputs(const Block& block, int64_t tokens,
                    const std::function<void(double)>& progress);

  // To the next block: by the outputs that were kept, or through `block`, a chunk of about `tokens`
  // tokens at a time.
  void take_outputs();
  void advance(const Block& block, int64_t tokens, const std::function<void(double)>& progress);

 private:
  // The first windows x length x features of a buffer, as a tensor.
  torch::Tensor view(const torch::Tensor& buffer, int64_t features) const;
  // Windows [first, first + count) after attention, [count, length, hidden].
  torch::Tensor after_attention(const Block& block, int64_t first, int64_t count);
  torch::Tensor mlp_inputs(const Block& block, int64_t first, int64_t count);

  const Decoder& decoder_;
  const RotaryTables& rotary_;
  int64_t length_ = 0;
  int64_t attended_ = 0;         // windows before it have passed attention
  torch::Tensor own_, scratch_;  // [windows, length * widest]
  torch::Tensor inputs_;         // in own_
  torch::Tensor outputs_;        // in scratch_
  torch::Tensor chosen_;         // [windows, length, experts_per_token]: experts
};

}  // namespace bitsmith
