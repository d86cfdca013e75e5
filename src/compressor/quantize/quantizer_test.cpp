#include "compressor/quantize/quantizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "compressor/objective/hessian_sum.h"
#include "compressor/quantize/test_linears.h"
#include "compressor/representation/kinds/uniform.h"

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
                    Case{"int3g32+out1%", "rtn"}, Case{"int3g32+out1%", "gptq"},
                    Case{"aq1x6g4+lr2", "aqlm"}, Case{"gvq2d2b-n640+out0.5%+lr2", "gptvq"},
                    Case{"had:int3g32", "rtn"}, Case{"had:int3g32", "gptq"},
                    Case{"had-in8:aq1x6g4", "aqlm"}, Case{"had-out:gvq2d2b-n640", "gptvq"},
                    Case{"e8p", "rtn"}, Case{"e8p4", "rtn"}, Case{"e8p", "ldlq"},
                    Case{"e8p3", "ldlq"}, Case{"e8p4", "ldlq"}, Case{"had:e8p", "ldlq"},
                    Case{"had:e8p+lr2", "ldlq"}));

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

TEST(Rtn, FewerBitsCostMore) {
  const TestLinear linear = random_linear(32, 128);
  double before = 0;
  for (const char* spec : {"int8g32", "int6g32", "int4g32", "int3g32", "int2g32"}) {
    const double error = quantize({linear.weight, {}}, spec, "rtn").relative_error;
    EXPECT_GT(error, 2 * before);
    before = error;
  }
}

TEST(Rtn, NoScaleNearbyIsBetter) {
  const TestLinear linear = random_linear(16, 64);
  const auto result = quantize({linear.weight, {}}, "int3g64", "rtn");
  const auto scales = result.representation->continuous_parameters()[0].value.detach();
  for (const double factor : {0.97, 1.03, -1.0}) {
    const auto other = scales * factor;
    const auto codes = (linear.weight / other).round().clamp(-4, 3);
    const double error = relative_error(linear.weight, codes * other, {});
    EXPECT_GE(error, result.relative_error * 0.999);
  }
}

TEST(Gptq, WithoutCorrelationsIsRtn) {
  const TestLinear linear = random_linear(24, 160);
  for (const char* spec : {"int3g32", "int2g32-z", "int4g0"}) {
    const auto nearest = quantize({linear.weight, {}}, spec, "rtn");
    const auto gptq = quantize({linear.weight, torch::eye(160)}, spec, "gptq");
    EXPECT_TRUE(
        torch::equal(nearest.representation->dequantize(), gptq.representation->dequantize()));
  }
}

TEST(Gptq, BeatsRtn) {
  const TestLinear linear = random_linear(48, 256);
  for (const char* spec : {"int4g64", "int3g64", "int2g64", "int2g64-z"}) {
    for (const bool act_order : {false, true}) {
      QuantizeOptions options;
      options.act_order = act_order;
      EXPECT_LT(quantize(linear, spec, "gptq", options).relative_error,
                quantize(linear, spec, "rtn").relative_error);
    }
  }
}

// Optimal brain quantization, word for word: after each column the weights still free move to their
// best values, by a fresh solve. Lazy blocks and the Cholesky factor must come to the same codes.
TEST(Gptq, FollowsTheSlowReference) {
  const int64_t in = 160;
  const TestLinear linear = random_linear(6, in);
  for (const bool act_order : {false, true}) {
    QuantizeOptions options;
    options.act_order = act_order;
    const auto result = quantize(linear, "int3g32", "gptq", options);
    const auto scales = result.representation->continuous_parameters()[0].value.detach();
    auto h = linear.hessian.to(torch::kDouble);
    h.diagonal().add_(options.damping * h.diagonal().mean());
    const auto order =
        act_order ? std::get<1>(linear.hessian.diagonal().sort(true, 0, true)) : torch::arange(in);
    auto w = linear.weight.to(torch::kDouble).clone();
    auto codes = torch::zeros({6, in}, torch::kInt);
    for (int64_t i = 0; i < in; ++i) {
      const int64_t c = order[i].item<int64_t>();
      const auto scale = scales.select(1, c / 32).to(torch::kDouble);
      const auto code = (w.select(1, c) / scale).round().clamp(-4, 3);
      codes.select(1, c).copy_(code + 4);
      const auto error = w.select(1, c) - code * scale;
      const auto free = order.slice(0, i + 1);
      if (free.numel() == 0) break;
      const auto hf = h.index_select(0, free).index_select(1, free);
      const auto move = torch::linalg_solve(hf, h.select(1, c).index_select(0, free));
      w.index_add_(1, free, torch::outer(error, move));
    }
    const auto found = result.representation->coded().codes().reshape({6, in});
    EXPECT_GE((found == codes).to(torch::kFloat).mean().item<float>(), 0.999);
  }
}

TEST(Aqlm, BeatsRoundingToNearestWithTheSameCodebooks) {
  const TestLinear linear = random_linear(48, 192);
  EXPECT_LT(quantize(linear, "aq2x6g8", "aqlm").relative_error,
            0.8 * quantize(linear, "aq2x6g8", "rtn").relative_error);
}

TEST(Aqlm, FindsWhatIsExactlyRepresentable) {
  torch::manual_seed(2);
  const auto codebook = torch::randn({8, 4});
  const auto codes = torch::randint(8, {64 * 8});
  const auto weight = codebook.index_select(0, codes).reshape({64, 32});
  const auto hessian = random_linear(1, 32).hessian;
  QuantizeOptions options;
  options.tolerance = 0;
  EXPECT_LT(quantize({weight, hessian}, "aq1x6g4", "aqlm", options).relative_error, 1e-3);
}

TEST(Aqlm, SeedsDifferButOneSeedRepeats) {
  const TestLinear linear = random_linear(32, 64);
  QuantizeOptions other;
  other.seed = 5;
  const auto a = quantize(linear, "aq2x4g8", "aqlm"), b = quantize(linear, "aq2x4g8", "aqlm");
  const auto c = quantize(linear, "aq2x4g8", "aqlm", other);
  EXPECT_TRUE(torch::equal(a.representation->dequantize(), b.representation->dequantize()));
  EXPECT_FALSE(torch::equal(a.representation->dequantize(), c.representation->dequantize()));
}

TEST(Gptvq, BeatsGptqAndNearestVectorsAtTheSameBits) {
  const TestLinear linear = random_linear(96, 256);
  const double nearest = quantize(linear, "gvq2d2b-n2048", "rtn").relative_error;
  const double scalar = quantize(linear, "int2g128", "gptq").relative_error;
  const double vectors = quantize(linear, "gvq2d2b-n2048", "gptvq").relative_error;
  EXPECT_LT(vectors, nearest);
  EXPECT_LT(vectors, scalar);
}

TEST(Gptvq, EveryStartOfTheCodebooksWorks) {
  const TestLinear linear = random_linear(32, 128);
  for (const char* spec : {"gvq1d2b-n512", "gvq2d2b-n1024"}) {
    for (const char* start : {"best", "kmeans++", "mahalanobis", "quantiles"}) {
      QuantizeOptions options;
      parse_option(start, options.codebook_init);
      EXPECT_LT(quantize(linear, spec, "gptvq", options).relative_error,
                quantize(linear, spec, "rtn").relative_error)
          << spec << " " << start;
    }
  }
  CodebookInit init;
  EXPECT_THROW(parse_option("random", init), UsageError);
}

TEST(Gptvq, TheUpdateOfTheWholeMatrixHelps) {
  const TestLinear linear = random_linear(64, 256);
  QuantizeOptions sweep_only;
  sweep_only.codebook_update = false;
  EXPECT_LT(quantize(linear, "gvq2d2b-n2048", "gptvq").relative_error,
            quantize(linear, "gvq2d2b-n2048", "gptvq", sweep_only).relative_error);
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

QuantizedLinear quantize_by(const torch::Tensor& weight, const Objective& objective,
                            const std::string& spec, QuantizeOptions options = {}) {
  const auto parsed = parse_representation(spec);
  options.method = default_method(parsed);
  return quantize_linear(weight, objective, parsed, options);
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

TEST(KeptRows, AreThoseAskedForThenTheCostliest) {
  TestLinear linear = random_linear(40, 160);
  linear.weight[30] *= 50;
  linear.weight[31] *= 20;
  QuantizeOptions options;
  const auto kept = [&](const std::string& spec) {
    const auto result = quantize_by(linear.weight, linear.hessian, spec, options);
    const QuantizedTensor stored = result.representation->to_format();
    // What the codes leave is rounded to 16 bits.
    const auto difference = linear.weight - result.representation->dequantize();
    for (const int64_t row : read_kept_rows(stored)) {
      EXPECT_LT(difference[row].norm().item<double>(),
                std::ldexp(linear.weight[row].norm().item<double>(), -9));
    }
    return read_kept_rows(stored);
  };
  for (const char* spec : {"int3g32", "gvq2d2b-n640", "aq1x6g4"}) {
    options.kept_rows = {};
    EXPECT_EQ(kept(concat(spec, "+rows2")), (std::vector<int64_t>{30, 31})) << spec;
    options.kept_rows = {4, 7};
    EXPECT_EQ(kept(concat(spec, "+rows3")), (std::vector<int64_t>{4, 7, 30})) << spec;
    EXPECT_EQ(kept(concat(spec, "+rows1")), (std::vector<int64_t>{4})) << spec;
  }
}

// Rows that are kept whatever happens leave their codebooks to the others.
TEST(KeptRows, AreNoneOfTheCodesBusiness) {
  TestLinear linear = random_linear(40, 160);
  QuantizeOptions options;
  options.kept_rows = {4, 7};
  const auto others = [&](const torch::Tensor& weight) {
    auto dense = quantize_by(weight, linear.hessian, "gvq2d2b-n640+rows2", options)
                     .representation->dequantize()
                     .detach()
                     .clone();
    dense[4].zero_();
    dense[7].zero_();
    return dense;
  };
  auto changed = linear.weight.clone();
  changed[4] *= 30;
  changed[7] *= -3;
  EXPECT_TRUE(torch::equal(others(linear.weight), others(changed)));
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
