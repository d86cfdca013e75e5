#include "compressor/train/loss.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/name_table.h"
#include "kernels/kernel_table.h"

namespace bitsmith {
namespace {

constexpr NameTable<Loss, 4> kLosses = {"loss",
                                        {{Loss::kKl, "kl"},
                                         {Loss::kCrossEntropy, "ce"},
                                         {Loss::kKlAndCrossEntropy, "kl+ce"},
                                         {Loss::kJensenShannon, "js"}}};

// Losses of single positions, with work space for them. One a thread.
class PositionLoss {
 public:
  PositionLoss(const LossOptions& options, const TeacherRows* teacher, int64_t vocab)
      : options_(options), teacher_(teacher), vocab_(vocab), other_(static_cast<size_t>(vocab)) {}

  // Of row `row` of the chunk; leaves `scale` times its gradient by the logits in `student`
  // [vocab]. `ce_share`: what its cross-entropy counts.
  double operator()(int64_t row, int64_t label, double ce_share, float* student, float scale) {
    switch (options_.loss) {
      case Loss::kKl:
        return divergence(kernels().softmax.kl_gradient, row, student, scale);
      case Loss::kJensenShannon:
        return divergence(kernels().softmax.js_gradient, row, student, scale);
      case Loss::kCrossEntropy:
        return ce_share * cross_entropy(label, student, static_cast<float>(ce_share) * scale);
      case Loss::kKlAndCrossEntropy: {
        const double weight = options_.ce_weight * ce_share;
        copy_.assign(student, student + vocab_);
        const double kl = divergence(kernels().softmax.kl_gradient, row, student, scale);
        const double ce = cross_entropy(label, copy_.data(), static_cast<float>(weight) * scale);
        for (int64_t i = 0; i < vocab_; ++i) student[i] += copy_[static_cast<size_t>(i)];
        return kl + weight * ce;
      }
    }
    BITSMITH_CHECK(false);
    return 0;
  }

 private:
  using Kernel = double (*)(float* teacher, float* student, int64_t vocab, float scale);

  // T^2 D(p, q) of logits over T: its gradient is T times that of D by those.
  double divergence(Kernel kernel, int64_t row, float* student, float scale) {
    const auto temperature = static_cast<float>(options_.temperature);
    if (temperature != 1) {
      for (int64_t i = 0; i < vocab_; ++i) student[i] /= temperature;
    }
    teacher_->logits(row, student, other_.data());
    const double value = kernel(other_.data(), student, vocab_, scale * temperature);
    return value * options_.temperature * options_.temperature;
  }

  // KL to the distribution that is all on the label: beside 0, e^-10000 is 0.
  double cross_entropy(int64_t label, float* student, float scale) {
    if (label < 0) {
      std::fill_n(student, vocab_, 0.0f);
      return 0;
    }
    std::fill(other_.begin(), other_.end(), -1e4f);
    other_[static_cast<size_t>(label)] = 0;
    return kernels().softmax.kl_gradient(other_.data(), student, vocab_, scale);
  }

  const LossOptions& options_;
  const TeacherRows* teacher_;
  int64_t vocab_;
  std::vector<float> other_, copy_;
};

// What the cross-entropy of a position counts: those without a label are stood for by the rest.
double cross_entropy_share(const torch::Tensor& labels) {
  if (!labels.defined()) return 0;
  const auto labeled = labels.ge(0).sum().item<int64_t>();
  return labeled > 0 ? static_cast<double>(labels.numel()) / static_cast<double>(labeled) : 0;
}

}  // namespace

std::string option_text(Loss loss) { return kLosses.name(loss); }
void parse_option(const std::string& text, Loss& loss) { loss = kLosses.parse(text); }

LossResult training_loss(const LossOptions& options, TeacherRows* teacher,
                         const torch::Tensor& labels, const torch::Tensor& student_hidden,
                         const OutputHead& student_head, bool with_gradient, double grad_scale,
                         int64_t chunk) {
  const torch::NoGradGuard no_grad;
  const int64_t n = student_hidden.size(0), vocab = student_head.weight.size(0);
  const bool bf16 = student_hidden.scalar_type() == torch::kBFloat16;
  const auto cap = static_cast<float>(student_head.soft_cap);
  const auto scale = static_cast<float>(grad_scale);
  const double ce_share = cross_entropy_share(labels);
  const auto* label = labels.defined() ? labels.const_data_ptr<int64_t>() : nullptr;
  LossResult result;
  const bool trains_head = with_gradient && student_head.weight.requires_grad();
  if (with_gradient) result.grad_hidden = torch::empty_like(student_hidden);
  if (trains_head) result.grad_head = torch::zeros(student_head.weight.sizes(), torch::kFloat);
  std::vector<double> losses(static_cast<size_t>(n));
  for (int64_t first = 0; first < n; first += chunk) {
    const int64_t count = std::min(chunk, n - first);
    if (teacher != nullptr) teacher->prepare(first, count);
    auto student = student_head.logits(student_hidden.narrow(0, first, count));
    at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      PositionLoss loss(options, teacher, vocab);
      std::vector<float> widened(bf16 ? static_cast<size_t>(vocab) : 0);
      std::vector<float> capped(cap > 0 ? static_cast<size_t>(vocab) : 0);
      // The gradient of a row, by the derivative of the cap: d (cap tanh(z / cap)) / dz.
      const auto row_loss = [&](int64_t row, float* logits) {
        std::copy_n(logits, capped.size(), capped.data());
        const int64_t next = label != nullptr ? label[first + row] : -1;
        losses[static_cast<size_t>(first + row)] = loss(row, next, ce_share, logits, scale);
        for (size_t i = 0; i < capped.size(); ++i)
          logits[i] *= 1 - (capped[i] / cap) * (capped[i] / cap);
      };
      for (int64_t row = begin; row < end; ++row) {
        if (bf16) {
          auto* s = reinterpret_cast<uint16_t*>(student.data_ptr<at::BFloat16>()) + row * vocab;
          kernels().bfloat16.widen(s, vocab, widened.data());
          row_loss(row, widened.data());
          kernels().bfloat16.narrow(widened.data(), vocab, s);
        } else {
          row_loss(row, student.data_ptr<float>() + row * vocab);
        }
      }
    });
    if (with_gradient) {
      auto out = result.grad_hidden.narrow(0, first, count);
      at::matmul_out(out, student, student_head.weight);
    }
    if (trains_head)
      result.grad_head.add_(torch::mm(student.t(), student_hidden.narrow(0, first, count)));
  }
  for (const double value : losses) result.sum += value;
  return result;
}

torch::Tensor next_tokens(const torch::Tensor& ids) {
  auto labels = torch::full_like(ids, -1, torch::MemoryFormat::Contiguous);
  const int64_t length = ids.size(1);
  labels.narrow(1, 0, length - 1).copy_(ids.narrow(1, 1, length - 1));
  return labels.flatten();
}

}  // namespace bitsmith
