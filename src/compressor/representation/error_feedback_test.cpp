#include <gtest/gtest.h>

#include "compressor/representation/kinds/additive_search.h"
#include "compressor/representation/kinds/gvq.h"
#include "compressor/representation/kinds/gvq_search.h"
#include "compressor/representation/kinds/uniform_search.h"
#include "compressor/representation/test_hessian.h"

namespace bitsmith {
namespace {

// Word for word: after each code group the weights still free move to their best values by a fresh
// solve.
TEST(ErrorFeedback, FollowsTheSlowReference) {
  torch::manual_seed(8);
  const int64_t rows = 5, in = 160, g = 8, per_row = in / g, num_centroids = 16;
  const auto codebooks = torch::randn({1, num_centroids, g}), scales = torch::rand({rows}) + 0.5;
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
    const auto own_cost = torch::linalg_inv(torch::linalg_inv(free).slice(0, 0, g).slice(1, 0, g));
    const auto own = w.slice(1, first, next);
    const auto values = scales.reshape({rows, 1, 1}) * codebooks;  // [rows, centroids, g]
    const auto d = own.unsqueeze(1) - values;
    const auto code = (torch::matmul(d, own_cost) * d).sum(2).argmin(1);
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

// Scalars with a uniform grid as their codebook: GPTQ.
TEST(ErrorFeedback, OfScalarCodebooksOnAUniformGridIsGptq) {
  torch::manual_seed(12);
  const int64_t out = 12, in = 96;
  const auto target = torch::randn({out, in});
  const auto inverse = torch::linalg_inv(random_hessian(in).to(torch::kDouble));
  const auto factor = torch::linalg_cholesky(inverse).t().to(torch::kFloat).contiguous();
  const auto scales = torch::full({out, 1}, 0.6f), zeros = torch::full({out, 1}, 4.0f);
  const auto codes = torch::zeros({out * in, 1}, torch::kInt);
  UniformSearch uniform(scales, zeros, in, 3);
  const GvqLayout layout = gvq_layout(
      {.vector_size = 1, .index_bits = 3, .codebook_weights = 48 * 4, .tile_columns = 48}, out, in);
  const auto grid = 0.6f * (torch::arange(8, torch::kFloat) - 4);
  const auto centroids =
      grid.reshape({1, 1, 8, 1}).repeat({layout.strips, layout.column_groups, 1, 1});
  GvqSearch gvq(layout, centroids, {});
  const auto a = search_with_feedback(uniform, codes, target, factor);
  const auto b = search_with_feedback(gvq, codes, target, factor);
  EXPECT_GE((a == b).to(torch::kFloat).mean().item<float>(), 0.995);  // ties may fall differently
}

TEST(ErrorFeedback, IsNoWorseThanWithoutIt) {
  torch::manual_seed(13);
  const int64_t out = 24, in = 192;
  const auto target = torch::randn({out, in});
  const auto hessian = random_hessian(in);
  const auto inverse = torch::linalg_inv(hessian.to(torch::kDouble));
  const auto factor = torch::linalg_cholesky(inverse).t().to(torch::kFloat).contiguous();
  for (const char* text : {"gvq1d2b-n512", "gvq2d2b-n1024", "gvq4d2b-n4608"}) {
    const auto spec = std::get<GvqSpec>(parse_representation(text).terms.front());
    const GvqLayout layout = gvq_layout(spec, out, in);
    const auto centroids =
        torch::randn({layout.strips, layout.column_groups, spec.centroids(), spec.vector_size});
    const auto none = torch::zeros({out * in / spec.vector_size, 1}, torch::kInt);
    GvqSearch search(layout, centroids, {});
    const auto error = [&](const torch::Tensor& codes) {
      GvqTensors tensors{centroids, {}, codes, {}, {}};
      const GvqTerm r(spec, out, in, tensors);
      const auto d = (target - r.dequantize().detach()).to(torch::kDouble);
      return (torch::matmul(d, hessian.to(torch::kDouble)) * d).sum().item<double>();
    };
    const auto nearest = search_code_groups(search, {}, none, target, {}, {});
    EXPECT_LT(error(search_with_feedback(search, none, target, factor)), error(nearest)) << text;
  }
}

}  // namespace
}  // namespace bitsmith
