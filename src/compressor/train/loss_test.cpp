#include "compressor/train/kl_loss.h"

#include <gtest/gtest.h>

namespace bitsmith {
namespace {

struct KlCase {
  torch::Tensor teacher, student, head;
};

KlCase kl_case(int64_t n, int64_t hidden, int64_t vocab) {
  torch::manual_seed(1);
  return {torch::randn({n, hidden}), torch::randn({n, hidden}),
          0.4 * torch::randn({vocab, hidden})};
}

// The textbook form, by autograd, in float64.
std::pair<double, torch::Tensor> reference_kl(const KlCase& c, double cap = 0) {
  auto student = c.student.to(torch::kFloat64).requires_grad_(true);
  const auto head = c.head.to(torch::kFloat64);
  const auto logits = [&](const torch::Tensor& hidden) {
    const auto all = torch::linear(hidden, head);
    return cap > 0 ? cap * torch::tanh(all / cap) : all;
  };
  const auto log_p = torch::log_softmax(logits(c.teacher.to(torch::kFloat64)), 1);
  const auto log_q = torch::log_softmax(logits(student), 1);
  const auto kl = (log_p.exp() * (log_p - log_q)).sum();
  kl.backward();
  return {kl.item<double>(), student.grad()};
}

TEST(KlLoss, EqualsAutogradInFloat32) {
  for (const int64_t vocab : {7, 16, 1000, 1003}) {
    const KlCase c = kl_case(37, 24, vocab);
    const double cap = vocab == 1000 ? 3.0 : 0.0;
    const auto [value, gradient] = reference_kl(c, cap);
    const KlResult kl =
        kl_divergence(c.teacher, {c.head, cap}, c.student, {c.head, cap}, true, 1.0, 10);
    EXPECT_NEAR(kl.sum, value, 1e-4 * value) << vocab;
    EXPECT_LT((kl.grad_hidden - gradient).norm().item<double>(),
              1e-5 * gradient.norm().item<double>());
  }
}

TEST(KlLoss, IsCloseInBfloat16AndScalesItsGradient) {
  KlCase c = kl_case(64, 32, 500);
  for (auto* t : {&c.teacher, &c.student, &c.head})
    *t = t->to(torch::kBFloat16).to(torch::kFloat32);
  const auto [value, gradient] = reference_kl(c);
  const auto half = [](const torch::Tensor& t) { return t.to(torch::kBFloat16); };
  const KlResult kl = kl_divergence(half(c.teacher), {half(c.head)}, half(c.student),
                                    {half(c.head)}, true, 0.25, 64);
  // Logits of size ~3 are rounded to 2^-9 of themselves.
  EXPECT_NEAR(kl.sum, value, 2e-2 * value);
  EXPECT_LT((kl.grad_hidden.to(torch::kFloat64) - 0.25 * gradient).norm().item<double>(),
            3e-2 * 0.25 * gradient.norm().item<double>());
}

TEST(KlLoss, GivesTheHeadsGradientWhereItIsWanted) {
  const KlCase c = kl_case(37, 24, 100);
  for (const double cap : {0.0, 3.0}) {
    auto wanted = c.head.to(torch::kFloat64).requires_grad_(true);
    const auto logits = [&](const torch::Tensor& hidden, const torch::Tensor& head) {
      const auto all = torch::linear(hidden.to(torch::kFloat64), head);
      return cap > 0 ? cap * torch::tanh(all / cap) : all;
    };
    const auto log_p = torch::log_softmax(logits(c.teacher, wanted.detach()), 1);
    const auto log_q = torch::log_softmax(logits(c.student, wanted), 1);
    (0.5 * (log_p.exp() * (log_p - log_q)).sum()).backward();
    const auto head = c.head.clone().requires_grad_(true);
    const KlResult kl =
        kl_divergence(c.teacher, {c.head, cap}, c.student, {head, cap}, true, 0.5, 10);
    EXPECT_LT((kl.grad_head - wanted.grad()).norm().item<double>(),
              1e-5 * wanted.grad().norm().item<double>());
    EXPECT_FALSE(kl_divergence(c.teacher, {c.head, cap}, c.student, {c.head, cap}, true)
                     .grad_head.defined());
  }
}

TEST(KlLoss, IsZeroForEqualModels) {
  const KlCase c = kl_case(5, 16, 300);
  const KlResult kl = kl_divergence(c.student, {c.head}, c.student, {c.head}, true);
  EXPECT_NEAR(kl.sum, 0.0, 1e-5);
  EXPECT_LT(kl.grad_hidden.abs().max().item<double>(), 1e-5);
}

}  // namespace
}  // namespace bitsmith
