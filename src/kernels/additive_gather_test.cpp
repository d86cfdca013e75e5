#include "kernels/additive_gather.h"

#include "base/half.h"
#include "kernels/test_support.h"

namespace bitsmith {
namespace {

template <typename Code>
void expect_levels_agree(int num_codebooks, int nbits, int64_t group_size, int64_t groups,
                         int64_t rows, int scale_bits = 0) {
  Random random(static_cast<uint64_t>(nbits * 100 + group_size));
  const int64_t num_centroids = int64_t{1} << nbits, in = groups * group_size;
  AlignedBuffer<uint16_t> centroids(num_codebooks * num_centroids * group_size + 8);
  for (int64_t i = 0; i < centroids.size(); ++i) {
    centroids[i] = float_to_fp16(static_cast<float>(random.normal()));
  }
  const auto group_scales = normal_values(int64_t{1} << scale_bits, random);
  const AdditiveCodebooks w = {centroids.data(),
                               num_codebooks,
                               num_centroids,
                               group_size,
                               groups,
                               int{sizeof(Code)},
                               scale_bits > 0 ? group_scales.data() : nullptr};
  std::vector<uint8_t> scale_codes(rows * groups);
  for (uint8_t& code : scale_codes) code = static_cast<uint8_t>(random.below(1u << scale_bits));
  AlignedBuffer<Code> codes(rows * groups * num_codebooks);
  for (int64_t i = 0; i < codes.size(); ++i) {
    codes[i] = static_cast<Code>(random.below(static_cast<uint32_t>(num_centroids)));
  }
  const auto scales = normal_values(rows, random), x = outlier_values(in, random);

  const KernelTable scalar = make_kernel_table(Isa::scalar);
  std::vector<float> expected(rows), found(rows), row(in + 1), expected_row(in + 1);
  scalar.gather.gemv(w, codes.data(), scale_codes.data(), scales.data(), rows, x.data(),
                     expected.data());
  for (const KernelTable& level : vector_levels()) {
    SCOPED_TRACE(testing::Message() << isa_name(level.isa) << " " << num_codebooks << "x" << nbits
                                    << "g" << group_size);
    level.gather.gemv(w, codes.data(), scale_codes.data(), scales.data(), rows, x.data(),
                      found.data());
    expect_near_by_norm(found.data(), expected.data(), rows, float_sum_tolerance(in) * 4);
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* own_scales = scale_codes.data() + r * groups;
      const Code* row_codes = codes.data() + r * groups * num_codebooks;
      scalar.gather.decode_row(w, row_codes, 1, own_scales, scales[r], expected_row.data());
      level.gather.decode_row(w, row_codes, 1, own_scales, scales[r], row.data());
      EXPECT_EQ(row, expected_row);
      double dot = 0, norm = 0;
      for (int64_t i = 0; i < in; ++i) {
        dot += double{row[i]} * x[i];
        norm += std::pow(double{row[i]} * x[i], 2);
      }
      EXPECT_NEAR(expected[r], dot, 1e-5 * std::sqrt(norm));
    }
  }
}

TEST(AdditiveGather, EveryLevelAgreesWithScalar) {
  for (const int64_t group_size : {1, 2, 3, 4, 7, 8, 9, 16, 24, 64}) {
    for (const int num_codebooks : {1, 2, 3}) {
      expect_levels_agree<uint8_t>(num_codebooks, 8, group_size, 5, 9);
      expect_levels_agree<uint8_t>(num_codebooks, 3, group_size, 1, 3);
      expect_levels_agree<uint16_t>(num_codebooks, 12, group_size, 4, 6);
      expect_levels_agree<uint8_t>(num_codebooks, 5, group_size, 7, 6, 3);
      expect_levels_agree<uint16_t>(num_codebooks, 9, group_size, 4, 5, 4);
    }
  }
  expect_levels_agree<uint16_t>(1, 16, 8, 8, 5);
}

}  // namespace
}  // namespace bitsmith
