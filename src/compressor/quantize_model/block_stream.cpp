#include "compressor/quantize_model/block_stream.h"

#include <utility>

#include "base/error.h"

namespace bitsmith {

BlockStream::BlockStream(const Decoder& decoder, const RotaryTable& rotary, torch::Tensor inputs)
    : decoder_(decoder), rotary_(rotary) {
  if (!inputs.defined()) return;
  const int64_t windows = inputs.size(0), hidden = inputs.size(2);
  length_ = inputs.size(1);
  const int64_t widest = std::max(hidden, decoder.config().q_size());
  scratch_ = torch::empty({windows, length_ * widest}, inputs.options());
  if (widest == hidden && inputs.is_contiguous()) {
    own_ = inputs.view({windows, length_ * hidden});
    inputs_ = std::move(inputs);
  } else {
    own_ = torch::empty_like(scratch_);
    inputs_ = view(own_, hidden).copy_(inputs);
  }
}

torch::Tensor BlockStream::view(const torch::Tensor& buffer, int64_t features) const {
  return buffer.narrow(1, 0, length_ * features).view({buffer.size(0), length_, features});
}

void BlockStream::take_outputs() {
  BITSMITH_CHECK(outputs_.defined());
  std::swap(own_, scratch_);
  inputs_ = std::exchange(outputs_, torch::Tensor());
}

void BlockStream::advance(const Block& block, int64_t tokens,
                          const std::function<void(double)>& progress) {
  each_window_chunk(inputs_, tokens, progress, [&](int64_t first, int64_t count) {
    const torch::Tensor chunk = inputs_.narrow(0, first, count);
    chunk.copy_(decoder_.run_block(block, chunk, rotary_));
  });
  outputs_.reset();
}

torch::Tensor BlockStream::site_inputs(const Block& block, InputSite site, int64_t first,
                                       int64_t count, bool keep_outputs) {
  const int64_t hidden = inputs_.size(2);
  const torch::Tensor x = inputs_.narrow(0, first, count);
  const auto left = [&](int64_t features) {
    return view(scratch_, features).narrow(0, first, count);
  };
  torch::Tensor found;
  switch (site) {
    case InputSite::kAttentionInput:
      outputs_.reset();
      return decoder_.attention_inputs(block, x);
    case InputSite::kAttentionOutput:
      found = decoder_.attention(block, decoder_.attention_inputs(block, x), rotary_);
      left(found.size(2)).copy_(found);
      return found;
    case InputSite::kMlpInput: {
      const auto h = x + block.o.forward(left(decoder_.config().q_size()));
      left(hidden).copy_(h);
      return decoder_.mlp_inputs(block, h);
    }
    case InputSite::kMlpDown: {
      const torch::Tensor h = left(hidden);
      found = decoder_.mlp_hidden(block, decoder_.mlp_inputs(block, h));
      if (!keep_outputs) return found;
      h.add_(block.down.forward(found));
      if (first + count == inputs_.size(0)) outputs_ = view(scratch_, hidden);
      return found;
    }
  }
  return found;
}

}  // namespace bitsmith
