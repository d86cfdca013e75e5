#include "compressor/quantize/quantizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "compressor/objective/hessian_sum.h"
#include "compressor/quantize/test_linears.h"

namespace bitsmith {
namespace {

struct Case {
  const char *spec, *method;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.spec << ' ' << c.method; }

class EveryMethod : public testing::TestWithParam<Case> {
 protected:
  QuantizedLinear run(const TestLinear& linear, const QuantizeOptions& options = {}) const {
    return quantize(linear, GetParam().spec, GetParam().method, options);
  }
  bool is_rtn() const { return std::string(GetParam().method) == "rtn"; }
};

INSTANTIATE_TEST_SUITE_P(
    Cases, EveryMethod,
    testing::Values(Case{"int3g32", "rtn"}, Case{"int2g32-z", "rtn"}, Case{"int3g32", "gptq"},
                    Case{"int2g0-z", "gptq"}, Case{"int1g32", "gptq"}, Case{"aq2x4g8", "rtn"},
                    Case{"aq2x8g8", "aqlm"}, Case{"aq1x6g4", "aqlm"}, Case{"aq3x3g8", "aqlm"},
                    Case{"aq1x6g8-s8x3", "aqlm"}, Case{"gvq2d2b-n640", "rtn"},
                    Case{"gvq2d2b-n640", "gptvq"}, Case{"gvq1d2b-n256", "gptvq"},
                    Case{"gvq1d3b-n512-r3", "gptvq"}, Case{"gvq4d1b-n1024-s16-c16", "gptvq"},
                    Case{"gvq2d2b-n1024-s32", "rtn"}, Case{"gvq2d2b-n1024-s32", "gptvq"},
                    Case{"gvq1d3b-n512-s16-r3", "gptvq"},
                    Case{"had:gvq1d2b-n512-s16+out0.5%+lr2", "gptvq"}, Case{"int3g32+out1%", "rtn"},
                    Case{"int3g32+out1%", "gptq"}, Case{"aq1x6g4+lr2", "aqlm"},
                    Case{"gvq2d2b-n640+out0.5%+lr2", "gptvq"}, Case{"had:int3g32", "rtn"},
                    Case{"had:int3g32", "gptq"}, Case{"had-in8:aq1x6g4", "aqlm"},
                    Case{"had-out:gvq2d2b-n640", "gptvq"}, Case{"e8p", "rtn"}, Case{"e8p4", "rtn"},
                    Case{"e8p", "ldlq"}, Case{"e8p3", "ldlq"}, Case{"e8p4", "ldlq"},
                    Case{"had:e8p", "ldlq"}, Case{"had:e8p+lr2", "ldlq"}));

TEST_P(EveryMethod, ReportsWhatTheFileHolds) {
  const TestLinear linear = random_linear(40, 160);
  const auto result = run(linear);
  const auto reread = representation_from_format(result.representation->to_format());
  EXPECT_TRUE(torch::equal(reread->dequantize(), result.representation->dequantize()));
  const double error = relative_error(linear.weight, reread->dequantize(), linear.hessian);
  EXPECT_DOUBLE_EQ(result.relative_error, error);
  EXPECT_LT(error, 1);
  EXPECT_NEAR(result.stages.back().relative_error, error, 1e-4 * error);
}

TEST_P(EveryMethod, ObjectiveNeverRises) {
  QuantizeOptions options;
  options.tolerance = 0;
  const auto stages = run(random_linear(40, 160), options).stages;
  for (size_t i = 1; i < stages.size(); ++i) {
    EXPECT_LE(stages[i].relative_error, stages[i - 1].relative_error) << stages[i].stage;
  }
}

TEST_P(EveryMethod, DoesNotDependOnThreads) {
  const TestLinear linear = random_linear(70, 160);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto one = run(linear);
  at::set_num_threads(3);
  const auto three = run(linear);
  at::set_num_threads(threads);
  EXPECT_TRUE(
      torch::equal(one.representation->coded().codes(), three.representation->coded().codes()));
  EXPECT_TRUE(torch::equal(one.representation->dequantize(), three.representation->dequantize()));
  EXPECT_EQ(one.stages.size(), three.stages.size());
}

TEST_P(EveryMethod, RefusesWhatIsNotFinite) {
  TestLinear linear = random_linear(8, 32);
  linear.weight[3][5] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(run(linear), Error);
  linear = random_linear(8, 32);
  linear.hessian[0][0] = std::numeric_limits<float>::infinity();
  EXPECT_THROW(run(linear), Error);
}

TEST_P(EveryMethod, CopesWithDegenerateHessians) {
  const TestLinear linear = random_linear(16, 64);
  auto dead = linear.hessian.clone();  // inputs that were never active
  dead.narrow(0, 8, 16).zero_();
  dead.narrow(1, 8, 16).zero_();
  const auto x = torch::randn({64});
  for (const auto& hessian : {dead, torch::outer(x, x), torch::zeros({64, 64}),
                              1e-20 * linear.hessian, torch::Tensor()}) {
    const auto result = run({linear.weight, hessian});
    const auto quantized = result.representation->dequantize();
    EXPECT_TRUE(torch::isfinite(quantized).all().item<bool>());
    EXPECT_LT(result.relative_error, 1);
    // Weights of dead inputs still resemble the original ones.
    EXPECT_LT((quantized - linear.weight).norm().item<float>(),
              2 * linear.weight.norm().item<float>());
  }
}

TEST_P(EveryMethod, CopesWithDegenerateWeights) {
  const TestLinear linear = random_linear(16, 64);
  auto rows = linear.weight.clone();
  rows.narrow(0, 2, 3).zero_();
  EXPECT_TRUE(
      torch::isfinite(run({rows, linear.hessian}).representation->dequantize()).all().item<bool>());
  const auto nothing = run({torch::zeros_like(linear.weight), linear.hessian});
  EXPECT_EQ(nothing.representation->dequantize().abs().max().item<float>(), 0);
  EXPECT_EQ(nothing.relative_error, 0);
}

TEST_P(EveryMethod, ScalesWithTheWeights) {
  // fp16 loses digits below 6e-5: a representation must not, within reason.
  const TestLinear linear = random_linear(16, 64);
  const double error = run(linear).relative_error;
  // 256 pairs of 256 vectors fit 128 groups almost exactly: what is left then is fp16's rounding.
  const double tolerance = 0.1 * error + 1e-6;
  EXPECT_NEAR(run({0.01 * linear.weight, linear.hessian}).relative_error, error, tolerance);
  EXPECT_NEAR(run({100 * linear.weight, linear.hessian}).relative_error, error, tolerance);
}

// A large weight costs all others of its group their resolution.
TEST(Rotation, SpreadsLargeWeights) {
  TestLinear linear = random_linear(64, 128);
  linear.weight.pow_(3);
  for (const char* method : {"rtn", "gptq"}) {
    const double plain = quantize(linear, "int3g64", method).relative_error;
    const double rotated = quantize(linear, "had:int3g64", method).relative_error;
    EXPECT_LT(rotated, 0.8 * plain) << method;
  }
}

TEST(Methods, MustFitTheRepresentation) {
  const auto uniform = parse_representation("int4g64"), additive = parse_representation("aq2x8g8");
  EXPECT_THROW(check_method(Method::kAqlm, uniform), UsageError);
  EXPECT_THROW(check_method(Method::kGptq, additive), UsageError);
  EXPECT_THROW(parse_method("best"), UsageError);
  EXPECT_EQ(default_method(uniform), Method::kGptq);
  EXPECT_EQ(default_method(additive), Method::kAqlm);
  for (const Method method : {Method::kRtn, Method::kGptq}) {
    EXPECT_EQ(parse_method(method_name(method)), method);
    EXPECT_NO_THROW(check_method(method, uniform));
  }
  EXPECT_THROW(quantize(random_linear(8, 48), "int4g64", "rtn"), UsageError);
}

TEST(RelativeError, IsTheTraceInFloat64) {
  const TestLinear linear = random_linear(12, 40);
  const auto quantized = linear.weight + 0.01 * torch::randn_like(linear.weight);
  const auto h = linear.hessian.to(torch::kDouble);
  const auto trace = [&](const torch::Tensor& d) {
    const auto wide = d.to(torch::kDouble);
    return torch::matmul(torch::matmul(wide, h), wide.t()).trace().item<double>();
  };
  const double expected = trace(linear.weight - quantized) / trace(linear.weight);
  EXPECT_NEAR(relative_error(linear.weight, quantized, linear.hessian), expected, 1e-9 * expected);
}

// One row of four counts, in every tile.
torch::Tensor uneven_row_weights(int64_t out) {
  auto weights = torch::full({out}, 0.01);
  weights.slice(0, 0, out, 4).fill_(1);
  return weights;
}

// The covariance of outputs' gradients that hang together.
torch::Tensor random_output_factor(int64_t out) {
  const auto mix = torch::randn({out, out}) / std::sqrt(static_cast<double>(out));
  HessianSum sum(out);
  sum.add(torch::matmul(torch::randn({200, out}), mix) * torch::logspace(-0.5, 0.5, out) +
          0.5 * torch::randn({200, 1}));
  return sum.hessian();
}

TEST_P(EveryMethod, LowersTheObjectiveThatItIsGiven) {
  if (is_rtn()) return;
  const TestLinear linear = random_linear(48, 160);
  QuantizeOptions options;
  options.tolerance = 0;
  const auto ignoring = quantize_by(linear.weight, linear.hessian, GetParam().spec, options);
  // Rows that share nothing have the same best codes whatever their weights.
  const std::string spec = GetParam().spec;
  const bool rows_apart =
      (spec.starts_with("int") || spec.starts_with("e8p")) && spec.find('+') == std::string::npos;
  for (const auto& g : {uneven_row_weights(48), random_output_factor(48)}) {
    Objective objective(linear.hessian);
    objective.output_factor = g;
    const auto result = quantize_by(linear.weight, objective, spec, options);
    const auto dense = result.representation->dequantize();
    const auto other = ignoring.representation->dequantize();
    EXPECT_DOUBLE_EQ(result.relative_error, relative_error(linear.weight, dense, objective));
    if (rows_apart && !objective.joins_rows()) {
      EXPECT_TRUE(torch::equal(dense, other));
    } else {
      EXPECT_LT(result.relative_error, 0.97 * relative_error(linear.weight, other, objective));
    }
    for (size_t i = 1; i < result.stages.size(); ++i) {
      EXPECT_LE(result.stages[i].relative_error, result.stages[i - 1].relative_error)
          << result.stages[i].stage;
    }
  }
}

TEST_P(EveryMethod, TakesEqualRowWeightsForNone) {
  const TestLinear linear = random_linear(40, 160);
  Objective objective(linear.hessian);
  objective.output_factor = torch::ones({40});
  const auto parsed = parse_representation(GetParam().spec);
  QuantizeOptions options;
  options.method = parse_method(GetParam().method);
  const auto result = quantize_linear(linear.weight, objective, parsed, options);
  EXPECT_TRUE(
      torch::equal(result.representation->dequantize(), run(linear).representation->dequantize()));
}

TEST_P(EveryMethod, QuantizesTheShiftedTarget) {
  const TestLinear linear = random_linear(40, 160);
  Objective objective(linear.hessian);
  objective.shift = 0.01 * torch::randn({40, 160});
  const auto parsed = parse_representation(GetParam().spec);
  QuantizeOptions options;
  options.method = parse_method(GetParam().method);
  const auto result = quantize_linear(linear.weight, objective, parsed, options);
  // RTN is nearest to the weights.
  const auto target = is_rtn() ? linear.weight : linear.weight + objective.shift;
  const auto expected = run({target, linear.hessian});
  EXPECT_TRUE(
      torch::equal(result.representation->dequantize(), expected.representation->dequantize()));
  EXPECT_EQ(result.relative_error, expected.relative_error);
}

TEST(OutputFactor, WhatCannotUseItSaysSo) {
  const TestLinear linear = random_linear(48, 160);
  Objective objective(linear.hessian);
  objective.output_factor = random_output_factor(48);
  const auto message = [&](const std::string& spec, const QuantizeOptions& options) -> std::string {
    try {
      quantize_by(linear.weight, objective, spec, options);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  QuantizeOptions options;
  options.codebook_update = false;
  EXPECT_NE(message("gvq2d2b-n640", options).find("codebooks and codes after it"),
            std::string::npos);
  options = {};
  options.max_rounds = 0;
  EXPECT_NE(message("gvq2d2b-n640", options).find("it needs rounds"), std::string::npos);
  EXPECT_NE(message("aq1x6g4", options).find("it needs rounds"), std::string::npos);
  EXPECT_NE(message("e8p", options).find("it needs rounds"), std::string::npos);
  options = {};
  options.outliers = OutlierChoice::kAdmm;
  EXPECT_NE(message("int3g32+out1%", options).find("choose them by saliency"), std::string::npos);
  objective.output_factor = uneven_row_weights(48);
  EXPECT_EQ(message("int3g32+out1%", options), "");
}

}  // namespace
}  // namespace bitsmith
