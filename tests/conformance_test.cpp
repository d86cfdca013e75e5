// What every representation must pass, in one list: each kind, sums of them, and transforms around
// both. A new kind adds lines to kSpecs and nothing else.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "compressor/quantize/quantizer.h"
#include "compressor/representation/representation.h"
#include "format/random_tensor.h"
#include "runtime/matrices/weight_matrix.h"

namespace bitsmith {
namespace {

constexpr const char* kSpecs[] = {
    // uniform
    "int4g16", "int3g0", "int1g48", "int8g8-z", "int2g24-z",
    // additive
    "aq2x8g8", "aq1x4g4", "aq1x12g16", "aq3x5g2", "aq8x1g1", "aq2x4g8-s8x3", "aq1x5g6-s6x1",
    // codebook tiles
    "gvq2d2b-n256", "gvq2d1.5b-n200-c16", "gvq1d2b-n128-s8", "gvq4d1b-n400-t16-s16",
    "gvq1d3b-n300-r3", "gvq1d2b-n128-s4-c16-r2",
    // lattice
    "e8p", "e8p3", "e8p4",
    // sums
    "int3g16+out2%", "aq2x8g8+lr3", "gvq2d2b-n256+out1%+lr2", "int2g24-z+out1w", "int4g16+rows3",
    "gvq2d2b-n256+rows1+out1%", "e8p+lr2",
    // rotations
    "had:int3g16", "had-in:aq2x8g8", "had-out4:gvq2d2b-n256", "had-in4-out:int2g24-z+out1%+lr2",
    "had-in:int4g16+rows3", "had:e8p", "had-in:e8p4+out1%", "had-real:int3g16", "had-real-in:e8p",
    "had-real-out4:aq2x8g8+lr2", "had-in16-out8:int3g16", "had-in12:int4g16"};

constexpr int64_t kOut = 24, kIn = 48;

class Conformance : public testing::TestWithParam<const char*> {
 protected:
  Conformance()
      : spec(parse_representation(GetParam())), file(random_tensor(spec, kOut, kIn, random)) {
    torch::manual_seed(7);
  }

  std::vector<float> decoded(const QuantizedTensor& tensor) const {
    std::vector<float> rows(kOut * kIn);
    decode_rows(tensor, 0, kOut, rows);
    return rows;
  }
  static torch::Tensor matrix(std::vector<float>& rows) {
    return torch::from_blob(rows.data(), {kOut, kIn}, torch::kFloat).clone();
  }
  static bool same_parts(const QuantizedTensor& a, const QuantizedTensor& b) {
    bool same = a.spec == b.spec && a.parts.size() == b.parts.size();
    for (size_t i = 0; same && i < a.parts.size(); ++i) {
      same = a.parts[i].name == b.parts[i].name &&
             std::ranges::equal(a.parts[i].bytes, b.parts[i].bytes);
    }
    return same;
  }
  // A weight, and the Hessian of inputs that depend on each other, for the methods.
  static torch::Tensor hessian() {
    const auto mix = torch::randn({kIn, kIn}) / std::sqrt(static_cast<double>(kIn));
    const auto x = torch::randn({400, kIn}).mm(mix) * torch::logspace(-1, 1, kIn);
    return 2 * x.t().mm(x) / 400;
  }

  Random random{3};
  RepresentationSpec spec;
  QuantizedTensor file;  // random parts
};

INSTANTIATE_TEST_SUITE_P(Specs, Conformance, testing::ValuesIn(kSpecs));

TEST(ConformanceList, HasEveryKindAlone) {
  std::set<size_t> kinds;
  for (const char* name : kSpecs) {
    for (const TermSpec& term : parse_representation(name).terms) kinds.insert(term.index());
  }
  EXPECT_EQ(kinds.size(), std::variant_size_v<TermSpec>);
}

TEST_P(Conformance, TextAndFieldsGiveTheSpecBack) {
  EXPECT_EQ(parse_representation(to_string(spec)), spec);
  EXPECT_EQ(parse_representation(to_string(file.spec)), file.spec);
  EXPECT_EQ(resolved(file.spec, kOut, kIn), file.spec);
  EXPECT_EQ(spec_from_json(parse_json(spec_to_json(file.spec).dump(), "x"), "x"), file.spec);
  EXPECT_EQ(resolved(parse_representation(short_name(file.spec, kOut, kIn)), kOut, kIn), file.spec);
}

TEST_P(Conformance, BitsCountEveryByteOfTheFile) {
  size_t bytes = 0;
  for (const TensorView& part : file.parts) bytes += part.bytes.size();
  EXPECT_DOUBLE_EQ(bits_per_weight(spec, kOut, kIn) * kOut * kIn, 8.0 * static_cast<double>(bytes));
}

TEST_P(Conformance, WhatIsReadIsWrittenAgain) {
  verify(file, "test");
  const auto representation = representation_from_format(file);
  EXPECT_EQ(representation->spec(), file.spec);
  representation->project();
  // As Bitsmith writes it: padding is zero, the largest value of int8 codebooks is 127.
  const QuantizedTensor again = representation->to_format();
  verify(again, "test");
  std::vector<float> rows = decoded(again);
  EXPECT_TRUE(torch::equal(representation->dequantize(), matrix(rows)));
  EXPECT_TRUE(same_parts(representation_from_format(again)->to_format(), again));
}

TEST_P(Conformance, EveryDecoderGivesTheSameWeights) {
  std::vector<float> rows = decoded(file);
  const auto representation = representation_from_format(file);
  EXPECT_TRUE(torch::equal(representation->dequantize(), matrix(rows)));

  std::vector<float> some(5 * kIn);
  decode_rows(file, 7, 5, some);
  EXPECT_TRUE(std::equal(some.begin(), some.end(), rows.begin() + 7 * kIn));

  const auto prepared = make_quantized_matrix(file);
  std::vector<float> row(kIn);
  for (int64_t r = 0; r < kOut; ++r) {
    prepared->decode_row(r, row.data());
    EXPECT_TRUE(std::equal(row.begin(), row.end(), rows.begin() + r * kIn)) << r;
  }
}

TEST_P(Conformance, TheRuntimeMultiplies) {
  std::vector<float> rows = decoded(file);
  const auto w = matrix(rows).to(torch::kDouble);
  const auto prepared = make_quantized_matrix(file);
  ThreadPool one(1), three(3);
  // int8 inputs, and weights with kInt8: steps of 1/127 of the largest of 32.
  for (const auto& [products, error] :
       {std::pair{Products::kSingle, 0.02}, std::pair{Products::kInt8, 0.03},
        std::pair{Products::kExact, 1e-5}}) {
    for (const int64_t tokens : {1, 2, 9}) {
      const auto x = torch::randn({tokens, kIn});
      auto y = torch::empty({tokens, kOut}), again = torch::empty({tokens, kOut});
      float *to = y.mutable_data_ptr<float>(), *to_again = again.mutable_data_ptr<float>();
      prepared->multiply(products, x.const_data_ptr<float>(), tokens, to, one);
      prepared->multiply(products, x.const_data_ptr<float>(), tokens, to_again, three);
      EXPECT_TRUE(torch::equal(y, again));
      const auto exact = x.to(torch::kDouble).mm(w.t());
      EXPECT_LT((y - exact).norm().item<double>(), error * exact.norm().item<double>()) << tokens;
    }
  }
}

TEST_P(Conformance, GradientsMatchFiniteDifferences) {
  const auto representation = representation_from_format(file);
  const auto direction = torch::randn({kOut, kIn}, torch::kDouble);
  const auto loss = [&] {
    return (representation->dequantize().to(torch::kDouble) * direction).sum();
  };
  loss().backward();
  EXPECT_FALSE(representation->continuous_parameters().empty());
  for (const auto& parameter : representation->continuous_parameters()) {
    const auto step = torch::randn_like(parameter.value);
    const double expected = (parameter.value.grad() * step).sum().item<double>();
    // The matrix is linear in each parameter, so a long step is exact.
    const torch::NoGradGuard no_grad;
    const auto before = loss().item<double>();
    parameter.value.add_(step);
    EXPECT_NEAR(loss().item<double>() - before, expected, 1e-3 * (1 + std::abs(expected)))
        << parameter.name;
    parameter.value.sub_(step);
  }
}

TEST_P(Conformance, ProjectionIsIdempotentAndFinite) {
  const torch::NoGradGuard no_grad;
  const auto representation = representation_from_format(file);
  for (const auto& parameter : representation->continuous_parameters()) {
    parameter.value.detach().flatten()[0] = 1e9;
    representation->project();
    const auto once = representation->dequantize().clone();
    representation->project();
    EXPECT_TRUE(torch::equal(once, representation->dequantize())) << parameter.name;
    EXPECT_TRUE(torch::isfinite(once).all().item<bool>()) << parameter.name;
  }
  verify(representation->to_format(), "test");
}

TEST_P(Conformance, CodeGroupsDecodeToTheirPlaceInTheMatrix) {
  const torch::NoGradGuard no_grad;
  const auto representation = representation_from_format(file);
  CodedTerm& term = representation->coded();
  const int64_t g = term.code_group_size();
  const auto code_groups = torch::arange(1, term.num_code_groups(), 3);
  const auto at_code_groups = [&] {
    return term.dequantize().reshape({-1, g}).index_select(0, code_groups);
  };
  const auto codes = term.codes().index_select(0, code_groups);
  EXPECT_TRUE(torch::equal(term.decode_code_groups(code_groups, codes), at_code_groups()));
  const auto others = torch::randint(2, codes.sizes(), torch::kInt);
  term.assign_codes(code_groups, others);
  EXPECT_TRUE(torch::equal(term.decode_code_groups(code_groups, others), at_code_groups()));
}

// All codes of a group in turn, where they are few.
TEST_P(Conformance, SearchIsBruteForce) {
  const torch::NoGradGuard no_grad;
  const auto representation = representation_from_format(file);
  CodedTerm& term = representation->coded();
  const int64_t g = term.code_group_size(), codes_each = term.codes().size(1);
  const CodeLayout layout =
      std::visit([](const auto& s) { return s.code_layout(kOut, kIn); }, file.spec.terms.front());
  const int64_t values = int64_t{1} << layout.nbits;
  const double count = std::pow(static_cast<double>(values), static_cast<double>(codes_each));
  if (count > 1 << 16 || codes_each > 2) GTEST_SKIP() << "too many codes";
  const auto target = 0.2 * torch::randn({kOut, kIn});
  for (const int64_t group : {int64_t{0}, term.num_code_groups() / 2, term.num_code_groups() - 1}) {
    const auto n = static_cast<int64_t>(count);
    const auto index = torch::arange(n, torch::kInt);
    const auto all = codes_each == 1
                         ? index.unsqueeze(1)
                         : torch::stack({index.remainder(values), index.div(values, "floor")}, 1);
    const auto wanted = target.reshape({-1, g}).select(0, group).to(torch::kDouble);
    const auto error_of = [&](const torch::Tensor& codes) {
      const auto places = torch::full({codes.size(0)}, group, torch::kLong);
      return (term.decode_code_groups(places, codes).to(torch::kDouble) - wanted).square().sum(1);
    };
    const double best = error_of(all.to(torch::kInt)).min().item<double>();
    const auto found = term.search_codes(target, {}, torch::tensor({group}));
    EXPECT_NEAR(error_of(found).item<double>(), best, 1e-5 * (best + 1e-3)) << group;
  }
}

TEST_P(Conformance, CodeSpaceIsThatOfTheSum) {
  const torch::NoGradGuard no_grad;
  const auto representation = representation_from_format(file);
  const auto w = torch::randn({kOut, kIn});
  const auto v = representation->to_code_space(w);
  if (!spec.transform || !spec.transform->real_signs) {
    EXPECT_NEAR(v.norm().item<double>(), w.norm().item<double>(), 1e-4);
  }
  // <G, dW> = <G carried to code space, dV>.
  const auto g = torch::randn({kOut, kIn});
  const auto carried = (representation->gradient_to_code_space(g) * v).sum().item<double>();
  EXPECT_NEAR((g * w).sum().item<double>(), carried, 1e-3 * (1 + std::abs(carried)));
  if (file.spec.terms.size() > 1) return;
  const auto sum = representation->coded().dequantize();
  const auto there = representation->to_code_space(representation->dequantize());
  EXPECT_LT((there - sum).norm().item<float>(), 1e-5 * sum.norm().item<float>());
}

TEST_P(Conformance, EachMethodFallsAndThreadsChangeNothing) {
  const auto weight = 0.05 * torch::randn({kOut, kIn}), h = hessian();
  const int threads = at::get_num_threads();
  for (const Method method : {Method::kRtn, default_method(spec)}) {
    QuantizeOptions options;
    options.method = method;
    options.tolerance = 0;
    options.max_rounds = 4;
    at::set_num_threads(1);
    const auto one = quantize_linear(weight, h, spec, options);
    at::set_num_threads(3);
    const auto three = quantize_linear(weight, h, spec, options);
    at::set_num_threads(threads);
    EXPECT_TRUE(same_parts(one.representation->to_format(), three.representation->to_format()));
    for (size_t i = 1; i < one.stages.size(); ++i) {
      EXPECT_LE(one.stages[i].relative_error, one.stages[i - 1].relative_error)
          << one.stages[i].stage;
    }
    const auto held = representation_from_format(one.representation->to_format())->dequantize();
    EXPECT_DOUBLE_EQ(one.relative_error, relative_error(weight, held, h));
    EXPECT_LT(one.relative_error, 1);
    EXPECT_EQ(one.representation->to_format().spec, file.spec);
  }
}

}  // namespace
}  // namespace bitsmith
