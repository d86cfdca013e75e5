#include "compressor/train/teacher.h"

#include <algorithm>

#include "kernels/kernel_table.h"

namespace bitsmith {

void HiddenTeacherRows::prepare(int64_t first, int64_t count) {
  const torch::NoGradGuard no_grad;
  ready_ = head_.logits(hidden_.narrow(0, first, count));
}

void HiddenTeacherRows::logits(int64_t row, const float*, float* logits) const {
  const int64_t vocab = ready_.size(1);
  if (ready_.scalar_type() == torch::kBFloat16) {
    const auto* values = reinterpret_cast<const uint16_t*>(ready_.const_data_ptr<at::BFloat16>());
    kernels().bfloat16.widen(values + row * vocab, vocab, logits);
  } else {
    std::copy_n(ready_.const_data_ptr<float>() + row * vocab, vocab, logits);
  }
  if (temperature_ != 1) {
    for (int64_t i = 0; i < vocab; ++i) logits[i] /= temperature_;
  }
}

std::unique_ptr<TeacherRows> DecoderTeacher::rows(const TrainingWindows& windows) {
  const torch::NoGradGuard no_grad;
  return std::make_unique<HiddenTeacherRows>(decoder_.hidden_states(windows.ids).flatten(0, 1),
                                             decoder_.head(), temperature_);
}

}  // namespace bitsmith
