#include "compressor/train/student_pass.h"

namespace bitsmith {

StudentPass::StudentPass(Decoder& student, const torch::Tensor& ids, KeptActivations kept)
    : student_(student) {
  if (kept == KeptActivations::kAll) {
    hidden_ = student.hidden_states(ids).flatten(0, 1);
    return;
  }
  rotary_ = student.rotary(ids.size(1));
  embedded_ = student.embed(ids);
  torch::Tensor x = embedded_.detach();
  for (const auto& block : student.blocks()) {
    inputs_.push_back(x);
    // Without a guard against gradients: the kernels are those of the second time. The graph of a
    // block ends here.
    x = student.run_block(*block, x, rotary_).detach();
  }
  last_ = x.requires_grad_(true);
  hidden_ = student.final_norm(last_).flatten(0, 1);
}

void StudentPass::backward(const torch::Tensor& gradient) {
  hidden_.backward(gradient);
  hidden_.reset();
  if (!last_.defined()) return;
  torch::Tensor g = last_.grad();
  last_.reset();
  for (size_t i = inputs_.size(); i-- > 0;) {
    // Nothing before the first block wants a gradient unless the embedding learns.
    const torch::Tensor x = inputs_[i].requires_grad_(i > 0 || embedded_.requires_grad());
    const torch::Tensor y = student_.run_block(*student_.blocks()[i], x, rotary_);
    if (y.requires_grad()) y.backward(g);
    g = x.grad();
    inputs_.pop_back();
  }
  if (embedded_.requires_grad()) embedded_.backward(g);
}

}  // namespace bitsmith
