#include "compressor/representation/kinds/gvq_block_search.h"

#include <gtest/gtest.h>

#include <limits>

#include "compressor/representation/format_parts.h"
#include "compressor/representation/kinds/gvq.h"
#include "compressor/representation/kinds/gvq_dequantize.h"
#include "compressor/representation/test_hessian.h"

namespace bitsmith {
namespace {

// A matrix with random codebooks, codes and scales.
struct Blocks {
  Blocks(const std::string& text, int64_t out, int64_t in)
      : spec(std::get<GvqSpec>(parse_representation(text).terms.front())),
        layout(gvq_layout(spec, out, in)),
        target(torch::randn({out, in})) {
    const int64_t blocks = in / spec.scale_block, vectors = spec.scale_block / spec.vector_size;
    centroids =
        torch::randn({layout.strips, layout.column_groups, spec.centroids(), spec.vector_size});
    grid = round_to_fp16(torch::tensor({-2.0f, 0.2f}))
               .expand({layout.strips, layout.column_groups, 2})
               .contiguous();
    codes = torch::cat({torch::randint(16, {out * blocks, 1}, torch::kInt),
                        torch::randint(spec.centroids(), {out * blocks, vectors}, torch::kInt)},
                       1);
  }

  GvqBlockSearch search(int window = kScaleWindow) const {
    return {layout, centroids, grid, spec.scale_block, window};
  }
  torch::Tensor decode(const torch::Tensor& c) const {
    const auto scale_codes = c.select(1, 0).reshape({target.size(0), -1}).contiguous();
    const auto own = c.narrow(1, 1, c.size(1) - 1).reshape({-1, 1}).contiguous();
    return gvq_decode(layout, centroids, own, gvq_block_scales(layout, scale_codes, grid));
  }
  torch::Tensor found(const Objective& objective) const {
    auto blocks = search();
    return search_code_groups(blocks, decode(codes), codes, target, objective, {});
  }

  GvqSpec spec;
  GvqLayout layout;
  torch::Tensor target, centroids, grid, codes;
};

// Of a matrix [out, S]: what each row costs.
torch::Tensor row_costs(const Blocks& blocks, const torch::Tensor& codes,
                        const torch::Tensor& hessian) {
  return Objective(hessian).row_errors(blocks.target - blocks.decode(codes));
}

// The lowest cost of each row over all scales and codes of its one block.
torch::Tensor lowest_costs(const Blocks& blocks, const torch::Tensor& hessian) {
  const int64_t out = blocks.target.size(0), vectors = blocks.codes.size(1) - 1;
  const int64_t centroids = blocks.spec.centroids();
  int64_t combinations = 16;
  for (int64_t i = 0; i < vectors; ++i) combinations *= centroids;
  auto lowest = torch::full({out}, std::numeric_limits<double>::infinity(), torch::kDouble);
  for (int64_t n = 0; n < combinations; ++n) {
    auto codes = torch::empty_like(blocks.codes);
    int64_t rest = n / 16;
    codes.select(1, 0).fill_(n % 16);
    for (int64_t i = 1; i <= vectors; ++i, rest /= centroids)
      codes.select(1, i).fill_(rest % centroids);
    lowest = torch::minimum(lowest, row_costs(blocks, codes, hessian));
  }
  return lowest;
}

TEST(GvqBlockSearch, FindsTheBestOfOneVectorAndNearlyThatOfTwo) {
  for (const char* text : {"gvq1d2b-t1-s1", "gvq2d2b-t2-s2", "gvq4d1b-t4-s4", "gvq1d2b-t2-s2",
                           "gvq2d1.5b-t4-s4", "gvq4d1b-t8-s8"}) {
    torch::manual_seed(4);
    const auto spec = std::get<GvqSpec>(parse_representation(text).terms.front());
    const Blocks blocks(text, 70, spec.scale_block);
    const auto hessian = random_hessian(spec.scale_block);
    auto search = blocks.search(/*window=*/15);
    const auto codes = search_code_groups(search, blocks.decode(blocks.codes), blocks.codes,
                                          blocks.target, hessian, {});
    const auto reached = row_costs(blocks, codes, hessian);
    const auto lowest = lowest_costs(blocks, hessian);
    EXPECT_TRUE((reached >= lowest * (1 - 1e-6)).all().item<bool>()) << text;
    EXPECT_TRUE((reached <= row_costs(blocks, blocks.codes, hessian)).all().item<bool>()) << text;
    const double excess = (reached.sum() / lowest.sum()).item<double>() - 1;
    EXPECT_LT(excess, spec.scale_block == spec.vector_size ? 1e-3 : 0.1) << text;
  }
}

TEST(GvqBlockSearch, AWindowOfScalesMovesToTheBest) {
  torch::manual_seed(5);
  const Blocks blocks("gvq2d3b-t32-s32", 40, 32);
  const auto hessian = random_hessian(32);
  const auto reached = [&](int window) {
    auto search = blocks.search(window);
    const auto codes = search_code_groups(search, blocks.decode(blocks.codes), blocks.codes,
                                          blocks.target, hessian, {});
    return row_costs(blocks, codes, hessian).sum().item<double>();
  };
  EXPECT_NEAR(reached(2), reached(15), 0.03 * reached(15));
}

// Rows beyond a whole strip, more than one sweep panel, several column groups.
TEST(GvqBlockSearch, NoRowRisesByAnyObjective) {
  for (const char* text :
       {"gvq1d3b-n768-t96-s32", "gvq2d2b-n1024-s16", "gvq2d3b-n4096-s8", "gvq4d1.5b-n4096-s24"}) {
    torch::manual_seed(6);
    const Blocks blocks(text, 37, 288);
    Objective plain(random_hessian(288)), weighted = plain, shifted = plain, coupled = plain;
    weighted.output_factor = torch::rand({37});
    shifted.shift = torch::randn({37, 288});
    coupled.output_factor = random_hessian(37);
    for (const Objective& objective : {plain, weighted, shifted, coupled}) {
      const auto errors = [&](const torch::Tensor& codes) {
        const auto rows = objective.row_errors(blocks.target - blocks.decode(codes));
        return objective.joins_rows() ? rows.sum() : rows;
      };
      const auto before = errors(blocks.codes), after = errors(blocks.found(objective));
      EXPECT_TRUE((after <= before * (1 + 1e-6)).all().item<bool>()) << text;
      EXPECT_LT(after.sum().item<double>(), 0.5 * before.sum().item<double>()) << text;
    }
  }
}

TEST(GvqBlockSearch, DoesNotDependOnThreadsOrOnTheSizeOfTheHessian) {
  torch::manual_seed(7);
  const Blocks blocks("gvq2d2b-n1024-s16", 70, 288);
  const auto hessian = random_hessian(288);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto one = blocks.found(hessian);
  at::set_num_threads(3);
  const auto three = blocks.found(hessian);
  at::set_num_threads(threads);
  EXPECT_TRUE(torch::equal(one, three));
  for (const double size : {0x1p-60, 0x1p60})
    EXPECT_TRUE(torch::equal(one, blocks.found(hessian * size)));
}

TEST(GvqBlockSearch, KeepsWhatNoInputFeelsAndTakesTheSmallestScaleForZeros) {
  torch::manual_seed(8);
  Blocks blocks("gvq2d2b-n1024-s16", 20, 64);
  auto hessian = random_hessian(64);
  hessian.narrow(0, 16, 16).zero_();
  hessian.narrow(1, 16, 16).zero_();
  blocks.target.narrow(1, 32, 16).zero_();
  const auto by_block = [](const torch::Tensor& codes) { return codes.reshape({20, 4, -1}); };
  const auto before = by_block(blocks.codes), after = by_block(blocks.found(hessian));
  EXPECT_TRUE(torch::equal(after.select(1, 1), before.select(1, 1)));
  EXPECT_FALSE(torch::equal(after.select(1, 0), before.select(1, 0)));
  const auto zeros = by_block(blocks.found({})), scale_codes = zeros.select(2, 0);
  EXPECT_EQ(scale_codes.select(1, 2).max().item<int>(), 0);
}

}  // namespace
}  // namespace bitsmith
