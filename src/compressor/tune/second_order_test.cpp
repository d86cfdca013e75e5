#include "compressor/tune/second_order.h"

#include <gtest/gtest.h>

#include "compressor/train/gradient_pass.h"
#include "compressor/train/rules/naive_pv.h"
#include "compressor/train/test_matrices.h"
#include "compressor/tune/test_students.h"
#include "compressor/tune/trainer.h"

namespace bitsmith {
namespace {

Objective random_objective(int64_t out, int64_t in) {
  const auto x = torch::randn({4 * in, in}) * torch::linspace(0.5, 2, in);
  Objective objective(torch::matmul(x.t(), x) / static_cast<double>(2 * in));
  objective.output_factor = torch::rand({out}) + 0.2;
  return objective;
}

// g + G dW H / step = 0.
TEST(NewtonUpdate, IsWhereTheModelsGradientVanishes) {
  torch::manual_seed(81);
  const Objective objective = random_objective(12, 20);
  const auto gradient = torch::randn({12, 20});
  constexpr double kStep = 0.3;
  const auto rest = gradient + objective.apply(newton_update(gradient, objective, kStep)) / kStep;
  EXPECT_LT(rest.norm().item<double>(), 1e-4 * gradient.norm().item<double>());
}

TEST(NewtonUpdate, LeavesRowsWithoutWeight) {
  torch::manual_seed(82);
  Objective objective = random_objective(4, 8);
  objective.output_factor[2] = 0;
  const auto update = newton_update(torch::randn({4, 8}), objective, 1);
  EXPECT_EQ(update[2].abs().max().item<float>(), 0);
  EXPECT_GT(update[1].abs().min().item<float>(), 0);
}

TEST(Damped, RaisesBothDiagonalsByAShareOfTheirMeans) {
  torch::manual_seed(83);
  const Objective objective = random_objective(6, 8), raised = damped(objective, 0.5);
  const auto h = objective.hessian, g = objective.output_factor;
  EXPECT_TRUE(torch::allclose(raised.hessian, h + 0.5 * h.diagonal().mean() * torch::eye(8)));
  EXPECT_TRUE(torch::allclose(raised.output_factor, g + 0.5 * g.mean()));
  EXPECT_FALSE(damped({}, 0.5).hessian.defined());
}

class SecondOrderOf : public testing::TestWithParam<const char*> {};

// With H and G the identity it is the linearized V step over the whole space. An epsilon beside
// which the gradient vanishes makes Adam's direction that gradient.
TEST_P(SecondOrderOf, IsNaivePvWhereTheMetricIsTheIdentity) {
  torch::manual_seed(84);
  TrainedMatrix first(GetParam(), 48, 64), second(GetParam(), 48, 64);
  const auto gradient = torch::randn({48, 64});
  constexpr double kStep = 0.5, kEpsilon = 1e8;
  const auto naive = naive_pv(kStep * kEpsilon, {.distance = 1,
                                                 .schedule = {.p_steps = 1, .start = 0},
                                                 .adam = {.beta1 = 0, .epsilon = kEpsilon}});
  const auto change = naive->step(first.term(), gradient, {.step = 1});
  ASSERT_TRUE(change);
  EXPECT_GT(change->changed, 0);
  const auto target = second.term().dequantize() + newton_update(gradient, {}, kStep);
  const auto codes = second.term().search_codes(target, {}, {});
  const double differ =
      (codes != first.term().codes()).any(1).to(torch::kFloat64).mean().item<double>();
  EXPECT_LT(differ, 1e-3);  // ties fall by rounding
}

// Codes as they are make the model zero.
TEST_P(SecondOrderOf, CodesNeverRaiseTheModel) {
  torch::manual_seed(85);
  TrainedMatrix matrix(GetParam(), 48, 64);
  CodedTerm& term = matrix.term();
  const Objective objective =
      damped(matrix.linear.representation->to_code_space(random_objective(48, 64)), 0.01);
  const auto gradient = torch::randn({48, 64});
  const auto present = term.dequantize().detach().clone();
  bool any = false;
  for (const double step : {0.01, 0.1, 1.0}) {
    const auto target = present + newton_update(gradient, objective, step);
    const auto codes = term.search_codes(target, objective.hessian, {});
    const auto moved = term.decode_code_groups(torch::arange(term.num_code_groups()), codes)
                           .reshape(present.sizes())
                           .detach() -
                       present;
    any |= moved.abs().max().item<double>() > 0;
    // Rows with a diagonal G are on their own: none rises.
    if (objective.joins_rows()) continue;
    const auto slope = (gradient * moved).sum(1, false, torch::kFloat64);
    const auto model = slope + objective.row_errors(moved) / (2 * step);
    EXPECT_LT(model.max().item<double>(), 1e-4 * slope.abs().max().item<double>() + 1e-9) << step;
  }
  EXPECT_TRUE(any);
}

INSTANTIATE_TEST_SUITE_P(Representations, SecondOrderOf, testing::ValuesIn(kEveryRepresentation),
                         [](const auto& info) { return test_name(info.param); });

class SecondOrderStep : public testing::Test {
 protected:
  static double kl(TinyStudent& tiny) {
    return validation_kl(tiny.student->decoder(), *tiny.teacher, tiny.held_out, 4);
  }
  // As steps of the trainer do it.
  static void collect_gradients(TinyStudent& tiny, double sign) {
    DecoderTeacher targets(*tiny.teacher);
    gradient_pass(*tiny.student, tiny.student->decoder(), targets,
                  {torch::arange(tiny.windows.size(0)), tiny.windows}, 4);
    for (TunedLinear& tuned : tiny.student->linears())
      tuned.rule->step(tuned.representation().coded(), sign * tuned.code_gradient(), {.step = 1});
  }
};

TEST_F(SecondOrderStep, LowersTheKlAndSpendsTheGradientOfWhatChanged) {
  for (const char* representation : {"int2g16", "aq1x4g4", "had:int2g16+lr2"}) {
    SCOPED_TRACE(representation);
    TinyStudent tiny(representation, "second-order");
    // The mean of one gradient with a momentum of 0.98 has a fiftieth of its size.
    collect_gradients(tiny, 50);
    const double before = kl(tiny);
    const auto values = tiny.student->save_values();
    const SecondOrderOutcome outcome = second_order_step(tiny.job({.longest_step = 0.02}));
    EXPECT_GT(outcome.step, 0);
    EXPECT_GT(outcome.changed, 0);
    EXPECT_LT(outcome.kl, before);
    EXPECT_NEAR(outcome.kl, kl(tiny), 1e-6 * before);
    int64_t changed = 0;
    for (TunedLinear& tuned : tiny.student->linears()) {
      const CodedTerm& term = tuned.representation().coded();
      const auto differs = (term.codes() != values.at(tuned.linear->name + ".codes")).any(1);
      const auto left = tuned.rule->mean_gradient().view({-1, term.code_group_size()}).abs().sum(1);
      EXPECT_TRUE(torch::equal(differs, left == 0)) << tuned.linear->name;
      changed += differs.sum().item<int64_t>();
    }
    EXPECT_EQ(outcome.changed, changed);
  }
}

TEST_F(SecondOrderStep, ChangesNothingThatRaisesTheKl) {
  TinyStudent tiny("int2g16", "second-order");
  collect_gradients(tiny, -50);  // uphill
  const auto values = tiny.student->save_values();
  const double before = kl(tiny);
  const SecondOrderOutcome outcome = second_order_step(tiny.job({.longest_step = 0.1}));
  EXPECT_LE(outcome.kl, before * (1 + 1e-6));
  EXPECT_EQ(outcome.changed > 0, outcome.step > 0);
  EXPECT_EQ(same_values(values, tiny.student->save_values()), outcome.step == 0);
  for (TunedLinear& tuned : tiny.student->linears())
    EXPECT_TRUE(torch::equal(tuned.linear->weight, tuned.representation().dequantize()));
}

TEST_F(SecondOrderStep, WithoutAGradientNothingChanges) {
  TinyStudent tiny("int2g16", "second-order");
  const auto values = tiny.student->save_values();
  // Codes that are the nearest to what they give stay; coordinate descent has nothing to gain.
  EXPECT_EQ(second_order_step(tiny.job()).changed, 0);
  EXPECT_TRUE(same_values(values, tiny.student->save_values()));
}

}  // namespace
}  // namespace bitsmith
