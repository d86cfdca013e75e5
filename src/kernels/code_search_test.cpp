#include "kernels/code_search.h"

#include "kernels/test_support.h"

namespace bitsmith {
namespace {

TEST(CodeSearch, EveryLevelAgreesWithScalar) {
  const SearchKernels scalar = make_kernel_table(Isa::scalar).search;
  Random random(9);
  for (const int64_t padded : {16, 32, 64, 256}) {
    for (const int64_t dim : {1, 2, 4, 5}) {
      constexpr int64_t kRows = 39;
      const auto base = normal_values(padded, random),
                 columns = normal_values(dim * padded, random);
      const auto linear = normal_values(kRows * dim, random);
      const auto cross = normal_values(padded * padded, random);
      AlignedBuffer<float> costs(kRows * padded), found(kRows * padded);
      std::vector<int32_t> expected_best(kRows), best(kRows);
      scalar.costs(base.data(), columns.data(), linear.data(), kRows, dim, padded, costs.data());
      for (int64_t r = 0; r < kRows; ++r) {
        for (int64_t k = 0; k < padded; ++k) {
          double cost = base[k];
          for (int64_t d = 0; d < dim; ++d)
            cost -= 2.0 * linear[r * dim + d] * columns[d * padded + k];
          ASSERT_NEAR(costs[r * padded + k], cost, 1e-5);
        }
      }
      for (const KernelTable& level : vector_levels()) {
        const SearchKernels& simd = level.search;
        simd.costs(base.data(), columns.data(), linear.data(), kRows, dim, padded, found.data());
        for (int64_t i = 0; i < costs.size(); ++i) ASSERT_NEAR(found[i], costs[i], 1e-5);

        scalar.nearest(base.data(), columns.data(), linear.data(), kRows, dim, padded,
                       expected_best.data());
        simd.nearest(base.data(), columns.data(), linear.data(), kRows, dim, padded, best.data());
        EXPECT_EQ(best, expected_best);

        // Additions of the same numbers: the same minima.
        scalar.nearest_pair(costs.data(), found.data(), cross.data(), kRows, padded, padded, padded,
                            expected_best.data());
        simd.nearest_pair(costs.data(), found.data(), cross.data(), kRows, padded, padded, padded,
                          best.data());
        EXPECT_EQ(best, expected_best);

        std::vector<float> y(static_cast<size_t>(padded), 1), expected_y = y;
        simd.subtract_product(linear.data(), cross.data(), dim, padded, padded - 3, y.data());
        scalar.subtract_product(linear.data(), cross.data(), dim, padded, padded - 3,
                                expected_y.data());
        for (size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], expected_y[i], 1e-5);
      }
    }
  }
}

}  // namespace
}  // namespace bitsmith
