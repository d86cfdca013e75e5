#include "kernels/dense_gemv.h"

#include "base/half.h"
#include "kernels/test_support.h"

namespace bitsmith {
namespace {

TEST(DenseGemv, ScalarKnowsASmallProduct) {
  DenseGemvKernels kernels;
  fill_scalar(kernels);
  const float w[] = {1, 2, 3, 4, 5, 6}, x[] = {1, 10, 100};
  float y[2];
  kernels.f32(w, x, 2, 3, y);
  EXPECT_EQ(y[0], 321);
  EXPECT_EQ(y[1], 654);
}

TEST(DenseGemv, EveryLevelAgreesWithScalar) {
  const KernelTable scalar = make_kernel_table(Isa::scalar);
  Random random(1);
  for (const int64_t in : {1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 576}) {
    for (const int64_t rows : {1, 3, 4, 5, 9}) {
      const auto w = normal_values(rows * in, random), x = outlier_values(in, random);
      AlignedBuffer<uint16_t> bf16(rows * in);
      for (int64_t i = 0; i < w.size(); ++i) bf16[i] = float_to_bf16(w[i]);
      AlignedBuffer<float> expected(rows), found(rows + 1);
      for (const KernelTable& level : vector_levels()) {
        SCOPED_TRACE(testing::Message() << isa_name(level.isa) << " " << rows << " x " << in);
        found[rows] = 42;
        scalar.dense.f32(w.data(), x.data(), rows, in, expected.data());
        level.dense.f32(w.data(), x.data(), rows, in, found.data());
        expect_near_by_norm(found.data(), expected.data(), rows, float_sum_tolerance(in) * 4);
        scalar.dense.bf16(bf16.data(), x.data(), rows, in, expected.data());
        level.dense.bf16(bf16.data(), x.data(), rows, in, found.data());
        expect_near_by_norm(found.data(), expected.data(), rows, float_sum_tolerance(in) * 4);
        EXPECT_EQ(found[rows], 42);
      }
    }
  }
}

// What makes results independent of how rows are shared among threads.
TEST(DenseGemv, ARowDoesNotDependOnItsNeighbors) {
  Random random(2);
  const int64_t rows = 7, in = 75;
  const auto w = normal_values(rows * in, random), x = normal_values(in, random);
  for (const KernelTable& level : vector_levels()) {
    float all[rows], one;
    level.dense.f32(w.data(), x.data(), rows, in, all);
    for (int64_t r = 0; r < rows; ++r) {
      level.dense.f32(w.data() + r * in, x.data(), 1, in, &one);
      EXPECT_EQ(one, all[r]) << isa_name(level.isa) << " row " << r;
    }
  }
}

}  // namespace
}  // namespace bitsmith
