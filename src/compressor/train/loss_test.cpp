#include "compressor/train/loss.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace bitsmith {
namespace {

struct LossCase {
  torch::Tensor teacher, student, head, labels;
};

LossCase loss_case(int64_t n, int64_t hidden, int64_t vocab) {
  torch::manual_seed(1);
  LossCase c = {torch::randn({n, hidden}), torch::randn({n, hidden}),
                0.4 * torch::randn({vocab, hidden}), torch::randint(vocab, {n}, torch::kInt64)};
  c.labels.index_put_({torch::arange(4, n, 5)}, -1);  // positions without a next token
  return c;
}

// The textbook's forms of logits in float64, summed over the positions.
torch::Tensor textbook_loss(const LossOptions& o, const torch::Tensor& teacher,
                            const torch::Tensor& student, const torch::Tensor& labels) {
  const double t = o.temperature;
  const auto log_p = torch::log_softmax(teacher / t, 1), log_q = torch::log_softmax(student / t, 1);
  const auto kl = [](const torch::Tensor& log_a, const torch::Tensor& log_b) {
    return (log_a.exp() * (log_a - log_b)).sum();
  };
  const auto log_m = torch::logaddexp(log_p, log_q) - std::log(2.0);
  const auto labeled = labels.ge(0).nonzero().squeeze(1);
  const auto ce =
      -torch::log_softmax(student, 1).index({labeled, labels.index_select(0, labeled)}).mean() *
      labels.size(0);
  switch (o.loss) {
    case Loss::kKl:
      return t * t * kl(log_p, log_q);
    case Loss::kJensenShannon:
      return t * t * (kl(log_p, log_m) + kl(log_q, log_m)) / 2;
    case Loss::kCrossEntropy:
      return ce;
    case Loss::kKlAndCrossEntropy:
      return t * t * kl(log_p, log_q) + o.ce_weight * ce;
  }
  return {};
}

struct LossReference {
  double value;
  torch::Tensor grad_hidden, grad_head;
};

LossReference loss_reference(const LossOptions& options, const LossCase& c, double cap) {
  const auto student = c.student.to(torch::kFloat64).requires_grad_(true);
  const auto head = c.head.to(torch::kFloat64).requires_grad_(true);
  const auto logits = [&](const torch::Tensor& hidden, const torch::Tensor& weight) {
    const auto all = torch::linear(hidden.to(torch::kFloat64), weight);
    return cap > 0 ? cap * torch::tanh(all / cap) : all;
  };
  const auto loss =
      textbook_loss(options, logits(c.teacher, head.detach()), logits(student, head), c.labels);
  loss.backward();
  return {loss.item<double>(), student.grad(), head.grad()};
}

LossResult loss_of(const LossOptions& options, const LossCase& c, double cap, double grad_scale,
                   bool trains_head = false) {
  const auto head = trains_head ? c.head.clone().requires_grad_(true) : c.head;
  HiddenTeacherRows teacher(c.teacher, {c.head, cap}, options.temperature);
  return training_loss(options, options.needs_teacher() ? &teacher : nullptr, c.labels, c.student,
                       {head, cap}, true, grad_scale, 10);
}

double loss_error(const torch::Tensor& value, const torch::Tensor& wanted) {
  return ((value.to(torch::kFloat64) - wanted).norm() / wanted.norm()).item<double>();
}

class EveryLoss : public testing::TestWithParam<LossOptions> {};

TEST_P(EveryLoss, EqualsAutogradInFloat32) {
  for (const int64_t vocab : {7, 16, 1000, 1003}) {
    const LossCase c = loss_case(37, 24, vocab);
    const double cap = vocab == 1000 ? 3.0 : 0.0;
    const LossReference wanted = loss_reference(GetParam(), c, cap);
    const LossResult loss = loss_of(GetParam(), c, cap, 1.0);
    EXPECT_NEAR(loss.sum, wanted.value, 1e-4 * wanted.value) << vocab;
    EXPECT_LT(loss_error(loss.grad_hidden, wanted.grad_hidden), 2e-5) << vocab;
    EXPECT_FALSE(loss.grad_head.defined());
  }
}

TEST_P(EveryLoss, IsCloseInBfloat16AndScalesItsGradient) {
  LossCase c = loss_case(64, 32, 500);
  for (auto* t : {&c.teacher, &c.student, &c.head})
    *t = t->to(torch::kBFloat16).to(torch::kFloat32);
  const LossReference wanted = loss_reference(GetParam(), c, 0);
  for (auto* t : {&c.teacher, &c.student, &c.head}) *t = t->to(torch::kBFloat16);
  const LossResult loss = loss_of(GetParam(), c, 0, 0.25);
  // Logits of size ~3 are rounded to 2^-9 of themselves.
  EXPECT_NEAR(loss.sum, wanted.value, 2e-2 * wanted.value);
  EXPECT_LT(loss_error(loss.grad_hidden, 0.25 * wanted.grad_hidden), 3e-2);
}

TEST_P(EveryLoss, GivesTheHeadsGradientWhereItIsWanted) {
  const LossCase c = loss_case(37, 24, 100);
  for (const double cap : {0.0, 3.0}) {
    const LossReference wanted = loss_reference(GetParam(), c, cap);
    const LossResult loss = loss_of(GetParam(), c, cap, 0.5, /*trains_head=*/true);
    EXPECT_LT(loss_error(loss.grad_head, 0.5 * wanted.grad_head), 2e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Losses, EveryLoss,
    testing::Values(LossOptions{}, LossOptions{.temperature = 2.5},
                    LossOptions{.loss = Loss::kCrossEntropy},
                    LossOptions{.loss = Loss::kKlAndCrossEntropy, .ce_weight = 0.3},
                    LossOptions{.loss = Loss::kKlAndCrossEntropy, .temperature = 2},
                    LossOptions{.loss = Loss::kJensenShannon},
                    LossOptions{.loss = Loss::kJensenShannon, .temperature = 0.7}));

TEST(TrainingLoss, DivergencesOfEqualModelsAreZero) {
  LossCase c = loss_case(5, 16, 300);
  c.teacher = c.student;
  for (const Loss loss : {Loss::kKl, Loss::kJensenShannon}) {
    const LossResult result = loss_of({.loss = loss}, c, 0, 1);
    EXPECT_NEAR(result.sum, 0.0, 1e-5);
    EXPECT_LT(result.grad_hidden.abs().max().item<double>(), 1e-5);
  }
}

TEST(TrainingLoss, NextTokensEndWithTheWindow) {
  const auto ids = torch::tensor({{1, 2, 3}, {4, 5, 6}}, torch::kInt64);
  EXPECT_TRUE(torch::equal(next_tokens(ids), torch::tensor({2, 3, -1, 5, 6, -1}, torch::kInt64)));
}

TEST(TrainingLoss, NamesOfLosses) {
  for (const char* name : {"kl", "ce", "kl+ce", "js"}) {
    Loss loss;
    parse_option(name, loss);
    EXPECT_EQ(option_text(loss), name);
  }
  Loss loss;
  EXPECT_THROW(parse_option("mse", loss), UsageError);
}

}  // namespace
}  // namespace bitsmith
