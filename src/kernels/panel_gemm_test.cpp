#include "kernels/panel_gemm.h"

#include "base/half.h"
#include "kernels/test_support.h"

namespace bitsmith {
namespace {

TEST(PanelGemm, EveryLevelAgreesWithScalar) {
  const KernelTable scalar = make_kernel_table(Isa::scalar);
  Random random(1);
  for (const int64_t in : {1, 5, 64, 577}) {
    for (const int64_t rows : {1, 15, 16, 17, 31, 32, 33, 64, 70}) {
      for (const int64_t tokens : {1, 2, 5, 6, 7, 11, 12, 13, 25}) {
        const int64_t panels = (rows + kPanelRows - 1) / kPanelRows, stride = rows + 3;
        auto w = normal_values(panels * in * kPanelRows, random);
        const auto x = outlier_values(tokens * in, random);
        AlignedBuffer<float> expected(tokens * stride), found(tokens * stride);
        scalar.gemm.multiply(w.data(), rows, x.data(), tokens, in, expected.data(), stride);
        for (const KernelTable& level : vector_levels()) {
          SCOPED_TRACE(testing::Message() << isa_name(level.isa) << " " << tokens << " tokens, "
                                          << rows << " x " << in);
          std::fill_n(found.data(), found.size(), 0.0f);
          level.gemm.multiply(w.data(), rows, x.data(), tokens, in, found.data(), stride);
          expect_near_by_norm(found.data(), expected.data(), found.size(), float_sum_tolerance(in));
          for (int64_t t = 0; t < tokens; ++t) {
            for (int64_t r = rows; r < stride; ++r) ASSERT_EQ(found[t * stride + r], 0);
          }
        }
      }
    }
  }
}

TEST(PanelGemm, ATokenDoesNotDependOnTheOthers) {
  Random random(2);
  const int64_t rows = 40, in = 100, tokens = 17;
  const auto w = normal_values(2 * in * kPanelRows, random), x = normal_values(tokens * in, random);
  for (const KernelTable& level : vector_levels()) {
    std::vector<float> all(rows * tokens), one(rows);
    level.gemm.multiply(w.data(), rows, x.data(), tokens, in, all.data(), rows);
    for (int64_t t = 0; t < tokens; ++t) {
      level.gemm.multiply(w.data(), rows, x.data() + t * in, 1, in, one.data(), rows);
      EXPECT_EQ(one, std::vector<float>(all.begin() + t * rows, all.begin() + (t + 1) * rows));
    }
  }
}

TEST(PanelGemm, PackingIsExact) {
  const KernelTable scalar = make_kernel_table(Isa::scalar);
  Random random(3);
  for (const int64_t in : {1, 7, 8, 9, 40}) {
    for (const int64_t rows : {1, 8, 9, 31, 32}) {
      const auto w = normal_values(rows * in, random);
      AlignedBuffer<uint16_t> bf16(rows * in);
      for (int64_t i = 0; i < w.size(); ++i) bf16[i] = float_to_bf16(w[i]);
      const int64_t size = in * kPanelRows;
      AlignedBuffer<float> expected(size), found(size);
      for (const KernelTable& level : vector_levels()) {
        scalar.gemm.pack_f32(w.data(), rows, in, expected.data());
        level.gemm.pack_f32(w.data(), rows, in, found.data());
        EXPECT_TRUE(std::equal(found.data(), found.data() + size, expected.data()));
        scalar.gemm.pack_bf16(bf16.data(), rows, in, expected.data());
        level.gemm.pack_bf16(bf16.data(), rows, in, found.data());
        EXPECT_TRUE(std::equal(found.data(), found.data() + size, expected.data()));
      }
    }
  }
}

}  // namespace
}  // namespace bitsmith
