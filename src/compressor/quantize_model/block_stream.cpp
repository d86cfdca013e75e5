#include "compressor/quantize_model/block_stream.h"

#include <utility>

#include "architecture/site_weights.h"
#include "base/error.h"
#include "compressor/model/experts.h"

namespace bitsmith {

BlockStream::BlockStream(const Decoder& decoder, const RotaryTables& rotary, torch::Tensor inputs)
    : decoder_(decoder), rotary_(rotary) {
  if (!inputs.defined()) return;
  const int64_t windows = inputs.size(0), hidden = inputs.size(2);
  length_ = inputs.size(1);
  int64_t widest = hidden;
  for (const BlockPlan& block : decoder.plan().blocks)
    widest = std::max(widest, block.attention.q_size());
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

void BlockStream::make_outputs(const Block& block, int64_t tokens,
                               const std::function<void(double)>& progress) {
  outputs_ = view(scratch_, inputs_.size(2));
  each_window_chunk(inputs_, tokens, progress, [&](int64_t first, int64_t count) {
    outputs_.narrow(0, first, count)
        .copy_(decoder_.run_block(block, inputs_.narrow(0, first, count), rotary_));
  });
}

void BlockStream::take_outputs() {
  BITSMITH_CHECK(outputs_.defined());
  std::swap(own_, scratch_);
  inputs_ = std::exchange(outputs_, torch::Tensor());
}

void BlockStream::advance(const Block& block, int64_t tokens,
                          const std::function<void(double)>& progress) {
  make_outputs(block, tokens, progress);
  take_outputs();
}

torch::Tensor BlockStream::after_attention(const Block& block, int64_t first, int64_t count) {
  const torch::Tensor h = view(scratch_, inputs_.size(2)).narrow(0, first, count);
  if (first < attended_) return h;
  BITSMITH_CHECK(first == attended_);
  const torch::Tensor o = view(scratch_, block.plan->attention.q_size()).narrow(0, first, count);
  h.copy_(decoder_.add_attention(block, inputs_.narrow(0, first, count), o));
  attended_ = first + count;
  return h;
}

torch::Tensor BlockStream::mlp_inputs(const Block& block, int64_t first, int64_t count) {
  const torch::Tensor h = after_attention(block, first, count);
  return decoder_.mlp_inputs(block, inputs_.narrow(0, first, count), h);
}

std::vector<int64_t> BlockStream::route_tokens(const Block& block, int64_t tokens,
                                               const std::function<void(double)>& progress) {
  std::vector<torch::Tensor> chunks;
  each_window_chunk(inputs_, tokens, progress, [&](int64_t first, int64_t count) {
    const torch::Tensor chosen = route(block, mlp_inputs(block, first, count).flatten(0, 1)).chosen;
    chunks.push_back(chosen.view({count, length_, chosen.size(1)}));
  });
  if (chunks.empty()) return std::vector<int64_t>(block.mlps.size());
  chosen_ = torch::cat(chunks);
  const auto experts = std::ssize(block.mlps);
  const torch::Tensor counts = torch::bincount(chosen_.flatten(), {}, experts);
  return {counts.const_data_ptr<int64_t>(), counts.const_data_ptr<int64_t>() + experts};
}

torch::Tensor BlockStream::tokens_of(const Block& block, size_t site, int64_t first, int64_t count,
                                     bool all_tokens) const {
  const int64_t expert = block.sites.at(site).expert;
  if (expert < 0) return {};
  if (all_tokens) return torch::arange(count * length_, torch::kInt64);
  BITSMITH_CHECK(chosen_.defined());
  return tokens_of_expert(chosen_.narrow(0, first, count).flatten(0, 1), expert);
}

torch::Tensor BlockStream::site_inputs(const Block& block, size_t site, int64_t first,
                                       int64_t count, const torch::Tensor& tokens,
                                       bool keep_outputs) {
  const Site& plan = block.sites.at(site);
  BITSMITH_CHECK(tokens.defined() == (plan.expert >= 0));
  const torch::Tensor x = inputs_.narrow(0, first, count);
  switch (plan.kind) {
    case Site::Kind::kAttentionInput:
      outputs_.reset();
      chosen_.reset();
      attended_ = 0;
      return decoder_.attention_inputs(block, x);
    case Site::Kind::kAttentionOutput: {
      const torch::Tensor o =
          decoder_.attention(block, decoder_.attention_inputs(block, x), rotary_);
      view(scratch_, plan.features).narrow(0, first, count).copy_(o);
      return o;
    }
    case Site::Kind::kMlpInput:
    case Site::Kind::kMlpDown:
      break;
  }
  const torch::Tensor m = mlp_inputs(block, first, count);
  const torch::Tensor own = tokens.defined() ? m.flatten(0, 1).index_select(0, tokens) : m;
  if (plan.kind == Site::Kind::kMlpInput) return own;
  const torch::Tensor d = site_mlp(block, plan).hidden(own);
  if (keep_outputs && site + 1 == block.sites.size()) {
    const torch::Tensor h = after_attention(block, first, count);
    h.copy_(tokens.defined() ? decoder_.add_experts(block, h, m) : decoder_.add_mlp(block, h, d));
    if (first + count == inputs_.size(0)) outputs_ = view(scratch_, inputs_.size(2));
  }
  return d;
}

}  // namespace bitsmith
