#include "compressor/tune/held_out_kl.h"

#include <algorithm>

#include "base/error.h"
#include "compressor/train/loss.h"

namespace bitsmith {

template <typename Task>
void HeldOutKl::each_micro_batch(const Task& task) const {
  const int64_t windows = inputs_.size(0);
  for (int64_t first = 0; first < windows; first += micro_windows_)
    task(first, std::min(micro_windows_, windows - first));
}

HeldOutKl::HeldOutKl(Decoder& student, Decoder& teacher, const torch::Tensor& windows,
                     int64_t micro_windows)
    : student_(student),
      teacher_(teacher),
      micro_windows_(micro_windows),
      rotary_(student.rotary(windows.size(1))) {
  const torch::NoGradGuard no_grad;
  inputs_ = student.embed(windows);
  targets_ = torch::empty_like(inputs_);
  each_micro_batch([&](int64_t first, int64_t count) {
    targets_.narrow(0, first, count).copy_(teacher.hidden_states(windows.narrow(0, first, count)));
  });
}

double HeldOutKl::from_block(int64_t block) {
  BITSMITH_CHECK(block >= block_);
  const torch::NoGradGuard no_grad;
  const auto run = [&](int64_t index, const torch::Tensor& x) {
    return student_.run_block(*student_.blocks()[static_cast<size_t>(index)], x, rotary_);
  };
  for (; block_ < block; ++block_) {
    each_micro_batch([&](int64_t first, int64_t count) {
      const auto own = inputs_.narrow(0, first, count);
      own.copy_(run(block_, own));
    });
  }
  double sum = 0;
  each_micro_batch([&](int64_t first, int64_t count) {
    auto x = inputs_.narrow(0, first, count);
    for (int64_t index = block; index < student_.plan().num_blocks(); ++index) x = run(index, x);
    HiddenTeacherRows target(targets_.narrow(0, first, count).flatten(0, 1), teacher_.head());
    sum += training_loss({}, &target, {}, student_.final_norm(x).flatten(0, 1), student_.head(),
                         /*with_gradient=*/false)
               .sum;
  });
  return sum / static_cast<double>(inputs_.size(0) * inputs_.size(1));
}

}  // namespace bitsmith
