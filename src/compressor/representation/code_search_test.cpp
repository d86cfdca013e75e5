#include <gtest/gtest.h>

#include "compressor/representation/additive_representation.h"
#include "compressor/representation/additive_search.h"
#include "compressor/representation/code_search_reference.h"
#include "compressor/representation/uniform_representation.h"

namespace bitsmith {
namespace {

enum class MetricKind { kIdentity, kDiagonal, kHessian };

struct Case {
  const char* spec;
  MetricKind metric;
  bool some_groups;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.spec << " metric " << static_cast<int>(c.metric) << (c.some_groups ? " some" : " all");
}

constexpr int64_t kOut = 37,
                  kIn = 288;  // rows beyond a whole tile; more than two blocks of columns

torch::Tensor random_hessian(int64_t in) {
  const auto x = torch::randn({2 * in, in}) * torch::linspace(0.3, 3.0, in);
  return (torch::matmul(x.t(), x) + 2 * x.sum(0).outer(x.sum(0)) / (2 * in)) / in;
}

class CodeSearch : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    torch::manual_seed(11);
    const auto spec = parse_representation(GetParam().spec);
    if (const auto* uniform = std::get_if<UniformSpec>(&spec)) {
      const int64_t groups = kIn / uniform->group_size;
      scales = 0.5 * torch::randn({kOut, groups});
      zeros = torch::full({kOut, groups}, 1 << (uniform->nbits - 1), torch::kInt);
      representation = std::make_unique<UniformRepresentation>(
          *uniform, scales, zeros, torch::randint(1 << uniform->nbits, {kOut, kIn}, torch::kInt));
      nbits = uniform->nbits;
    } else {
      const auto& additive = std::get<AdditiveSpec>(spec);
      const int64_t m = additive.num_codebooks, g = additive.in_group_size;
      const int64_t entries = int64_t{1} << additive.nbits_per_codebook;
      codebooks = torch::randn({m, entries, g});
      scales = torch::randn({kOut});
      representation = std::make_unique<AdditiveRepresentation>(
          additive, codebooks, scales, torch::randint(entries, {kOut * kIn / g, m}, torch::kInt));
    }
    if (GetParam().metric == MetricKind::kDiagonal) metric.diagonal = torch::rand({kIn}) + 0.1;
    if (GetParam().metric == MetricKind::kHessian) metric.hessian = random_hessian(kIn);
    if (GetParam().some_groups) {
      groups = torch::rand({representation->num_groups()}).lt(0.2).nonzero().squeeze(1);
    }
    target = torch::randn({kOut, kIn});
  }

  torch::Tensor reference() const {
    const torch::NoGradGuard no_grad;
    if (nbits > 0) {
      return search_uniform_reference(*representation, nbits, scales, zeros, target, metric,
                                      groups);
    }
    return search_additive_reference(*representation, codebooks, scales, target, metric, groups);
  }

  // Each row's objective if the searched groups get `codes`.
  torch::Tensor objective(const torch::Tensor& codes) {
    const torch::NoGradGuard no_grad;
    const auto before = representation->codes().clone();
    representation->assign_codes(groups, codes);
    const auto d = (target - representation->dequantize()).to(torch::kDouble);
    representation->assign_codes({}, before);
    if (metric.hessian.defined()) {
      return (torch::matmul(d, metric.hessian.to(torch::kDouble)) * d).sum(1);
    }
    return (metric.diagonal.defined() ? d * d * metric.diagonal : d * d).sum(1);
  }

  torch::Tensor present() const {
    return groups.defined() ? representation->codes().index_select(0, groups)
                            : representation->codes().clone();
  }

  std::unique_ptr<Representation> representation;
  torch::Tensor codebooks, scales, zeros, target, groups;
  Metric metric;
  int nbits = 0;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* spec : {"int3g96", "aq2x8g8", "aq1x9g8", "aq3x4g6", "aq2x1g2", "aq1x6g32"}) {
    for (const auto metric : {MetricKind::kIdentity, MetricKind::kDiagonal, MetricKind::kHessian}) {
      for (const bool some : {false, true}) all.push_back({spec, metric, some});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Cases, CodeSearch, testing::ValuesIn(cases()));

TEST_P(CodeSearch, RaisesNoRowAndAgreesWithTheReference) {
  const auto before = objective(present());
  const auto found = representation->search_codes(target, metric, groups);
  const auto after = objective(found);
  EXPECT_TRUE((after <= before * (1 + 1e-6)).all().item<bool>());

  // Ties and roundings may fall differently and lead coordinate descent elsewhere: nearly all codes
  // are the same, and the sum is as low.
  const auto expected = reference();
  EXPECT_GE((found == expected).to(torch::kFloat).mean().item<float>(), 0.98);
  EXPECT_NEAR(after.sum().item<double>() / objective(expected).sum().item<double>(), 1, 2e-3);
}

TEST_P(CodeSearch, ChangesNothingItself) {
  const auto codes = representation->codes().clone();
  representation->search_codes(target, metric, groups);
  EXPECT_TRUE(torch::equal(codes, representation->codes()));
}

TEST_P(CodeSearch, DoesNotDependOnThreads) {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto one = representation->search_codes(target, metric, groups);
  at::set_num_threads(3);
  const auto three = representation->search_codes(target, metric, groups);
  at::set_num_threads(threads);
  EXPECT_TRUE(torch::equal(one, three));
}

TEST_P(CodeSearch, KeepsCodesThatAreBest) {
  if (GetParam().metric == MetricKind::kHessian) return;  // neighbours move: may improve further
  if (std::string(GetParam().spec) == "aq3x4g6") return;  // pairs in turn: may improve further
  const auto best = representation->search_codes(target, metric, groups);
  representation->assign_codes(groups, best);
  EXPECT_TRUE(torch::equal(best, representation->search_codes(target, metric, groups)));
}

// The joint search against every pair, in float64.
TEST(JointSearch, IsExactOverAllPairs) {
  torch::manual_seed(5);
  const int64_t rows = 13, entries = 256, g = 8;
  const auto codebooks = torch::randn({2, entries, g}), scales = torch::rand({rows}) + 0.2;
  const auto codes = torch::randint(entries, {rows, 2}, torch::kInt);
  const AdditiveRepresentation representation({2, 8, g}, codebooks, scales, codes);
  const auto target = 2 * torch::randn({rows, g});
  const auto hessian = random_hessian(g);
  const auto found = representation.search_codes(target, {{}, hessian}, {});
  const auto h = hessian.to(torch::kDouble);
  const auto sums = (codebooks[0].unsqueeze(1) + codebooks[1].unsqueeze(0)).reshape({-1, g});
  for (int64_t r = 0; r < rows; ++r) {
    const auto d = (target[r] - scales[r] * sums).to(torch::kDouble);
    const auto costs = (torch::matmul(d, h) * d).sum(1);
    const int64_t at = found[r][0].item<int64_t>() * entries + found[r][1].item<int64_t>();
    EXPECT_LE(costs[at].item<double>(), costs.min().item<double>() * (1 + 1e-5));
  }
}

TEST(CodeSearchEdges, ZeroScalesAndDeadInputsKeepThePresentCodes) {
  torch::manual_seed(6);
  const auto codes = torch::randint(256, {4 * 2, 2}, torch::kInt);
  const auto scales = torch::tensor({0.0f, 1.0f, 0.0f, -2.0f});
  const AdditiveRepresentation representation({2, 8, 8}, torch::randn({2, 256, 8}), scales, codes);
  const auto target = torch::randn({4, 16});
  auto hessian = random_hessian(16);
  hessian.narrow(0, 8, 8).zero_();
  hessian.narrow(1, 8, 8).zero_();
  const auto found = representation.search_codes(target, {{}, hessian}, {}).reshape({4, 2, 2});
  const auto before = codes.reshape({4, 2, 2});
  EXPECT_TRUE(torch::equal(found[0], before[0]));
  EXPECT_TRUE(torch::equal(found[2], before[2]));
  EXPECT_TRUE(torch::equal(found.select(1, 1), before.select(1, 1)));
  EXPECT_FALSE(torch::equal(found[1][0], before[1][0]));
}

TEST(CodeSearchEdges, AnEmptyListOfGroupsIsFine) {
  const AdditiveRepresentation representation({2, 8, 8}, torch::randn({2, 256, 8}),
                                              torch::ones({3}), torch::zeros({6, 2}, torch::kInt));
  const auto none = torch::empty({0}, torch::kLong);
  EXPECT_EQ(representation.search_codes(torch::randn({3, 16}), {}, none).size(0), 0);
}

// Word for word: after each group the weights still free move to their best values by a fresh
// solve.
TEST(ErrorFeedback, FollowsTheSlowReference) {
  torch::manual_seed(8);
  const int64_t rows = 5, in = 160, g = 8, per_row = in / g, entries = 16;
  const auto codebooks = torch::randn({1, entries, g}), scales = torch::rand({rows}) + 0.5;
  const auto target = torch::randn({rows, in});
  const auto h = random_hessian(in).to(torch::kDouble);
  const auto inverse = torch::linalg_inv(h);
  const auto factor = torch::linalg_cholesky(inverse).t().contiguous();  // H^-1 = U^T U
  AdditiveSearch search(codebooks, scales, per_row);
  const auto found = search_with_feedback(search, torch::zeros({rows * per_row, 1}, torch::kInt),
                                          target, factor.to(torch::kFloat))
                         .reshape({rows, per_row});

  auto w = target.to(torch::kDouble).clone();
  auto expected = torch::zeros({rows, per_row}, torch::kInt);
  for (int64_t j = 0; j < per_row; ++j) {
    const int64_t first = j * g, next = first + g;
    const auto free = h.slice(0, first).slice(1, first);
    const auto metric = torch::linalg_inv(torch::linalg_inv(free).slice(0, 0, g).slice(1, 0, g));
    const auto own = w.slice(1, first, next);
    const auto values = scales.reshape({rows, 1, 1}) * codebooks;  // [rows, entries, g]
    const auto d = own.unsqueeze(1) - values;
    const auto code = (torch::matmul(d, metric) * d).sum(2).argmin(1);
    expected.select(1, j).copy_(code);
    const auto chosen = codebooks[0].index_select(0, code) * scales.unsqueeze(1);
    const auto error = own - chosen;
    if (next == in) break;
    const auto coupling = h.slice(0, next).slice(1, first, next);
    const auto move = torch::linalg_solve(h.slice(0, next).slice(1, next), coupling);
    w.slice(1, next).add_(torch::matmul(error, move.t()));
  }
  EXPECT_GE((found == expected).to(torch::kFloat).mean().item<float>(), 0.99);
}

class Kernels : public testing::TestWithParam<const SearchKernels* (*)()> {};
INSTANTIATE_TEST_SUITE_P(Isas, Kernels,
                         testing::Values(search_kernels_avx2, search_kernels_avx512));

TEST_P(Kernels, AgreeWithScalar) {
  const SearchKernels* simd = GetParam()();
  if (simd == nullptr) GTEST_SKIP() << "this processor cannot run it";
  const SearchKernels& scalar = *search_kernels_scalar();
  torch::manual_seed(9);
  for (const int64_t padded : {16, 32, 64, 256}) {
    const int64_t rows = 7, dim = 5;
    const auto base = torch::randn({padded}), columns = torch::randn({dim, padded});
    const auto linear = torch::randn({rows, dim});
    const auto p = [](const torch::Tensor& t) { return t.const_data_ptr<float>(); };
    auto fast = torch::empty({rows, padded}), slow = torch::empty({rows, padded});
    simd->costs(p(base), p(columns), p(linear), rows, dim, padded, fast.mutable_data_ptr<float>());
    scalar.costs(p(base), p(columns), p(linear), rows, dim, padded, slow.mutable_data_ptr<float>());
    EXPECT_TRUE(torch::allclose(fast, slow, 1e-5, 1e-5));

    std::vector<int32_t> fast_best(rows), slow_best(rows);
    simd->nearest(p(base), p(columns), p(linear), rows, dim, padded, fast_best.data());
    scalar.nearest(p(base), p(columns), p(linear), rows, dim, padded, slow_best.data());
    EXPECT_EQ(fast_best, slow_best);

    const auto cross = torch::randn({padded, padded});
    simd->nearest_pair(p(fast), p(slow), p(cross), rows, padded, padded, padded, fast_best.data());
    scalar.nearest_pair(p(fast), p(slow), p(cross), rows, padded, padded, padded, slow_best.data());
    EXPECT_EQ(fast_best, slow_best);  // additions of the same numbers: the same minima

    auto fast_y = torch::ones({padded}), slow_y = torch::ones({padded});
    simd->subtract_product(p(linear), p(cross), dim, padded, padded - 3,
                           fast_y.mutable_data_ptr<float>());
    scalar.subtract_product(p(linear), p(cross), dim, padded, padded - 3,
                            slow_y.mutable_data_ptr<float>());
    EXPECT_TRUE(torch::allclose(fast_y, slow_y, 1e-5, 1e-5));
  }
}

}  // namespace
}  // namespace bitsmith
