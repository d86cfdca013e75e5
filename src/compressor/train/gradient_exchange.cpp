#include "compressor/train/gradient_exchange.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include "compressor/tensor_bytes.h"
#include "compressor/train/gradient_sum.h"

namespace bitsmith {

// Called in backward when a leaf has its gradient.
class GradientExchange::Hook : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientExchange& exchange, size_t index) : exchange_(exchange), index_(index) {}
  void operator()(const torch::Tensor&) override {
    exchange_.send_off(index_);
    exchange_.poke();
  }

 private:
  GradientExchange& exchange_;
  size_t index_;
};

GradientExchange::GradientExchange(TunedBlocks& tuned)
    : tuned_(tuned), communicator_(tuned.communicator()) {
  if (communicator_.size() == 1) return;
  for (TunedLinear& linear : tuned.linears())
    parameters_.push_back({linear.linear->weight, linear.owner, &linear.gradient});
  for (Trainable& norm : tuned.norms())
    parameters_.push_back({norm.live, norm.owner, &norm.gradient});
  for (size_t i = 0; i < parameters_.size(); ++i)
    torch::autograd::impl::set_post_acc_grad_hooks(parameters_[i].leaf,
                                                   std::make_unique<Hook>(*this, i));
}

GradientExchange::~GradientExchange() {
  for (const Parameter& parameter : parameters_)
    torch::autograd::impl::set_post_acc_grad_hooks(parameter.leaf, nullptr);
}

void GradientExchange::begin(int micro_batches) {
  micro_batches_ = micro_batches;
  for (Parameter& parameter : parameters_) {
    parameter.left = false;
    parameter.next = 0;
  }
}

void GradientExchange::send_off(size_t index) {
  Parameter& parameter = parameters_[index];
  const torch::NoGradGuard no_grad;
  torch::Tensor& there = parameter.leaf.mutable_grad();
  const torch::Tensor gradient = there.defined() ? there.contiguous() : there;
  there.reset();
  parameter.left = true;
  if (is_own(parameter)) {
    parameter.own = gradient;
    adding_.push_back(index);
    return;
  }
  const auto bytes = gradient.defined() ? tensor_bytes(gradient) : std::span<std::byte>();
  sent_.push_back({gradient, communicator_.send(bytes, parameter.owner, static_cast<int>(index))});
}

bool GradientExchange::add_coming(size_t index, bool wait) {
  Parameter& parameter = parameters_[index];
  for (; parameter.next < micro_batches_; ++parameter.next) {
    if (parameter.next == communicator_.rank()) {
      if (parameter.own.defined()) add_to_sum(parameter.own, *parameter.sum);
      parameter.own.reset();
      continue;
    }
    if (!parameter.coming) {
      parameter.room = torch::empty_like(parameter.leaf, torch::MemoryFormat::Contiguous);
      parameter.coming = communicator_.receive(tensor_bytes(parameter.room), parameter.next,
                                               static_cast<int>(index));
    }
    if (wait) parameter.coming->wait();
    if (!parameter.coming->done()) return false;
    if (parameter.coming->bytes() > 0) add_to_sum(parameter.room, *parameter.sum);
    parameter.coming.reset();
    parameter.room.reset();
  }
  return true;
}

void GradientExchange::poke() {
  adding_.remove_if([&](size_t index) { return add_coming(index, /*wait=*/false); });
  sent_.remove_if([](const Sent& sent) { return sent.transfer->done(); });
}

void GradientExchange::finish() {
  if (communicator_.size() == 1) return tuned_.collect_gradients();
  // Those that backward did not come by, as an expert without tokens, or that were there before.
  for (size_t i = 0; i < parameters_.size(); ++i)
    if (makes_one() && !parameters_[i].left) send_off(i);
  for (size_t i = 0; i < parameters_.size(); ++i)
    if (is_own(parameters_[i])) add_coming(i, /*wait=*/true);
  adding_.clear();
  for (const Sent& sent : sent_) sent.transfer->wait();
  sent_.clear();
}

}  // namespace bitsmith
