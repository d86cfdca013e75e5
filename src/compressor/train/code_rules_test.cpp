#include "compressor/train/code_rules.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "base/error.h"
#include "compressor/train/p_step.h"
#include "compressor/train/test_matrices.h"

namespace bitsmith {
namespace {

using State = std::map<std::string, torch::Tensor>;

class EveryRule
    : public testing::TestWithParam<std::tuple<const char*, const char*, MomentFormat>> {
 protected:
  std::unique_ptr<TrainedMatrix> start() {
    auto matrix = std::make_unique<TrainedMatrix>(std::get<1>(GetParam()), 48, 64);
    CodeRuleOptions options;
    options.adam.moments = format();
    options.schedule = {.p_steps = 2, .start = 0};
    options.code_step = 10;  // beyond half of the distance between levels
    options.subspace.sampling = Sampling::kProportional;
    options.subspace.trust_ratio = 0.3;
    options.latent.rate = 2.0;
    options.rounding.step = 0.5;
    matrix->tuned().rule =
        code_rule_factory(std::get<0>(GetParam()), options, /*seed=*/4)(matrix->term(), 0.1, 0);
    matrix->blocks.norms().push_back(
        {"norm", torch::ones({4}), torch::ones({4}).requires_grad_(true), {}, 1.0});
    return matrix;
  }
  static MomentFormat format() { return std::get<2>(GetParam()); }
  static void take_step(TrainedMatrix& matrix, int64_t step) {
    torch::manual_seed(static_cast<uint64_t>(step));
    auto& tuned = matrix.tuned();
    tuned.gradient.copy_(torch::randn(tuned.gradient.sizes()));
    matrix.blocks.norms().front().gradient = torch::randn({4});
    if (tuned.rule) tuned.rule->step(matrix.term(), tuned.code_gradient(), {.step = step});
    p_step(matrix.blocks, step, 0.01, {.adam = {.moments = format()}});
    matrix.blocks.refresh();
  }
  static State save(TunedBlocks& blocks) {
    State state;
    blocks.visit_state([&](const std::string& name, torch::Tensor& tensor) {
      EXPECT_FALSE(state.contains(name)) << name;
      state[name] = tensor.defined() ? tensor.detach().clone() : tensor;
    });
    return state;
  }
  static void expect_same_bytes(const State& a, const State& b) {
    ASSERT_EQ(a.size(), b.size());
    for (const auto& [name, tensor] : a) {
      const auto& other = b.at(name);
      ASSERT_EQ(tensor.defined(), other.defined()) << name;
      if (!tensor.defined()) continue;
      ASSERT_EQ(tensor.nbytes(), other.nbytes()) << name;
      EXPECT_EQ(std::memcmp(tensor.data_ptr(), other.data_ptr(), tensor.nbytes()), 0) << name;
    }
  }
};

// The visitor sees all that a step reads or changes: whoever is given that goes on to the same end.
TEST_P(EveryRule, GoesOnToTheSameBytesFromARestoredState) {
  const auto first = start();
  for (int64_t step = 1; step <= 3; ++step) take_step(*first, step);
  const State saved = save(first->blocks);
  const auto codes = first->term().codes().clone();
  for (int64_t step = 4; step <= 6; ++step) take_step(*first, step);
  const bool searches =
      first->tuned().rule && find_code_rule(std::get<0>(GetParam())).pass == CodePass::kNone;
  EXPECT_NE(torch::equal(first->term().codes(), codes), searches);

  const auto second = start();
  {
    const torch::NoGradGuard no_grad;
    second->blocks.visit_state([&](const std::string& name, torch::Tensor& tensor) {
      const auto& value = saved.at(name);
      if (!value.defined()) return;
      if (tensor.defined()) {
        tensor.copy_(value);
      } else {
        tensor = value.clone();
      }
    });
  }
  second->blocks.refresh();
  for (int64_t step = 4; step <= 6; ++step) take_step(*second, step);
  expect_same_bytes(save(first->blocks), save(second->blocks));
  EXPECT_TRUE(torch::equal(first->linear.weight, second->linear.weight));
}

TEST_P(EveryRule, StateHasTheBytesThatThePredictionOfMemoryCounts) {
  const auto matrix = start();
  take_step(*matrix, 1);
  const auto& rule = find_code_rule(std::get<0>(GetParam()));
  size_t bytes = 0;
  if (matrix->tuned().rule) {
    matrix->tuned().rule->visit("matrix", [&](const std::string& name, torch::Tensor& tensor) {
      EXPECT_TRUE(name.starts_with("matrix.")) << name;
      if (tensor.defined()) bytes += tensor.nbytes();
    });
  }
  EXPECT_EQ(static_cast<double>(bytes), 48 * 64 * state_bytes_a_weight(rule, format()));
}

TEST_P(EveryRule, ProjectionShowsTheQuantizedMatrixAndValuesComeBack) {
  const auto matrix = start();
  take_step(*matrix, 1);
  const State before = save(matrix->blocks);
  const auto values = matrix->blocks.save_parameters();  // a projection leaves codes
  matrix->blocks.project();
  EXPECT_TRUE(torch::equal(matrix->linear.weight, matrix->linear.representation->dequantize()));
  matrix->blocks.restore_values(values);
  expect_same_bytes(before, save(matrix->blocks));
}

std::vector<const char*> rule_names() {
  std::vector<const char*> names;
  for (const NamedCodeRule& rule : code_rules()) names.push_back(rule.name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(
    Rules, EveryRule,
    testing::Combine(testing::ValuesIn(rule_names()), testing::ValuesIn(kEveryRepresentation),
                     testing::Values(MomentFormat::kBFloat16, MomentFormat::kEightBits)),
    [](const auto& info) {
      return test_name(concat(std::get<0>(info.param), "_", std::get<1>(info.param), "_",
                              option_text(std::get<2>(info.param))));
    });

TEST(VSchedule, CountsPStepsBetweenVSteps) {
  const auto due = [](const VSchedule& schedule) {
    std::vector<int64_t> steps;
    for (int64_t step = 1; step <= 6; ++step) {
      if (schedule.due({.step = step, .share = 0.5})) steps.push_back(step);
    }
    return steps;
  };
  EXPECT_EQ(due({.p_steps = 2, .start = 0}), (std::vector<int64_t>{2, 4, 6}));
  EXPECT_EQ(due({.p_steps = 2, .start = 0, .alternate = true}), (std::vector<int64_t>{3, 6}));
  EXPECT_EQ(due({.p_steps = 1, .start = 0, .alternate = true}), (std::vector<int64_t>{2, 4, 6}));
  EXPECT_TRUE(due({.p_steps = 1, .start = 0.6}).empty());
}

TEST(CodeRules, AnUnknownNameIsToldTheOthers) {
  try {
    find_code_rule("magic");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_EQ(std::string(error.what()),
              "unknown strategy 'magic': choose one of pv, pv+ste, ste, stochastic-rounding, "
              "naive-pv, second-pass, second-order, continuous");
  }
  for (const NamedCodeRule& rule : code_rules()) {
    EXPECT_NE(code_rule_help().find(concat(rule.name, ": ")), std::string::npos);
  }
}

}  // namespace
}  // namespace bitsmith
