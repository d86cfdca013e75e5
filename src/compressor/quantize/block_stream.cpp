#include "compressor/quantize/block_stream.h"

namespace bitsmith {

BlockStream::BlockStream(const Decoder& decoder, const RotaryTable& rotary, torch::Tensor inputs)
    : decoder_(decoder), rotary_(rotary), inputs_(std::move(inputs)) {}

void BlockStream::set_inputs(torch::Tensor inputs) {
  inputs_ = std::move(inputs);
  present_.reset();
  next_.reset();
  outputs_.reset();
}

torch::Tensor BlockStream::site_inputs(const Block& block, InputSite site, int64_t first,
                                       int64_t count, bool keep_outputs) {
  const int64_t windows = inputs_.size(0), length = inputs_.size(1);
  if (first == 0) {
    present_ = next_;
    next_.reset();
  }
  const auto leave = [&](const torch::Tensor& values) {
    if (!next_.defined()) {  // in place where that has room
      next_ = present_.defined() && present_.size(2) == values.size(2)
                  ? present_
                  : torch::empty({windows, length, values.size(2)}, values.options());
    }
    next_.narrow(0, first, count).copy_(values);
  };
  const auto of = [&](const torch::Tensor& all) { return all.narrow(0, first, count); };
  torch::Tensor found;
  switch (site) {
    case InputSite::kAttentionInput:
      return decoder_.attention_inputs(block, of(inputs_));
    case InputSite::kAttentionOutput:
      found = decoder_.attention(block, decoder_.attention_inputs(block, of(inputs_)), rotary_);
      leave(found);
      return found;
    case InputSite::kMlpInput: {
      const auto hidden = of(inputs_) + block.o.forward(of(present_));
      leave(hidden);
      return decoder_.mlp_inputs(block, hidden);
    }
    case InputSite::kMlpDown:
      found = decoder_.mlp_hidden(block, decoder_.mlp_inputs(block, of(present_)));
      if (keep_outputs) leave(of(present_) + block.down.forward(found));
      if (first + count == windows) {
        outputs_ = next_;
        present_.reset();
        next_.reset();
      }
      return found;
  }
  return found;
}

}  // namespace bitsmith
