#include "kernels/gvq_gemv.h"

#include <vector>

#include "kernels/gvq_gemv_layout.h"
#include "kernels/test_support.h"

namespace bitsmith {
namespace {

constexpr int64_t kRows = 5;

// A tile of random codes, centroids, scales and inputs.
struct Problem {
  GvqTile tile = {};
  int64_t x_stride;
  std::vector<uint8_t> codes;
  AlignedBuffer<float> planes, scales, x;

  Problem(int code_bits, int vector_size, int64_t codes_per_row, int64_t codes_per_scale) {
    Random random(static_cast<uint64_t>(1000 * code_bits + 10 * codes_per_row + vector_size));
    // Not all the codes that the bits could hold, as a codebook of 3, 6 or 11 bits has them.
    const int64_t centroids = code_bits == 4 ? 11 : code_bits == 8 ? 64 : 2048;
    tile.code_bits = code_bits;
    tile.vector_size = vector_size;
    tile.codes_per_row = codes_per_row;
    tile.row_bytes = (codes_per_row * code_bits + 7) / 8 + 3;
    tile.padded = (centroids + kCentroidPadding - 1) / kCentroidPadding * kCentroidPadding;
    codes.resize(static_cast<size_t>(kRows * tile.row_bytes + 64));
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t p = 0; p < codes_per_row; ++p) {
        const auto code = random.below(static_cast<uint64_t>(centroids));
        uint8_t* row = &codes[static_cast<size_t>(r * tile.row_bytes)];
        if (code_bits == 4) row[p / 2] |= static_cast<uint8_t>(code << (p % 2 * 4));
        if (code_bits == 8) row[p] = static_cast<uint8_t>(code);
        if (code_bits == 16)
          row[2 * p] = static_cast<uint8_t>(code), row[2 * p + 1] = static_cast<uint8_t>(code >> 8);
      }
    }
    planes = normal_values(vector_size * tile.padded, random);
    x_stride = codes_per_row + 5;
    x = outlier_values(vector_size * x_stride, random);
    tile.codes = codes.data();
    tile.planes = planes.data();
    if (codes_per_scale == 0) return;
    tile.codes_per_scale = codes_per_scale;
    tile.scale_stride = codes_per_row / codes_per_scale + 2;
    scales = outlier_values(kRows * tile.scale_stride, random);
    tile.block_scales = scales.data();
  }

  // y[r] and the norm that its error is measured by, both in float64.
  double product(int64_t r) const {
    double sum = 0;
    for (int64_t p = 0; p < tile.codes_per_row; ++p) {
      const int code = gvq_code(tile, tile.codes + r * tile.row_bytes, p);
      const double scale =
          tile.block_scales ? double{scales[r * tile.scale_stride + p / tile.codes_per_scale]} : 1;
      for (int t = 0; t < tile.vector_size; ++t)
        sum += scale * double{planes[t * tile.padded + code]} * double{x[t * x_stride + p]};
    }
    return sum;
  }
};

TEST(GvqGemv, EveryLevelGivesTheProductInFloat64) {
  for (const KernelTable& level : all_levels()) {
    for (const int code_bits : {4, 8, 16}) {
      for (const int vector_size : {1, 2, 4}) {
        for (const int64_t codes : {1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 255, 576}) {
          for (const int64_t per_scale : {0, 2, 8, 16}) {
            if (per_scale > 0 && codes % per_scale != 0) continue;
            SCOPED_TRACE(testing::Message()
                         << isa_name(level.isa) << ", " << code_bits << " bits, D " << vector_size
                         << ", " << codes << " codes, a scale for each " << per_scale);
            const Problem problem(code_bits, vector_size, codes, per_scale);
            std::vector<float> expected(kRows), found(kRows + 1, 42.0f);
            std::fill_n(found.begin(), kRows, 0.0f);
            for (int64_t r = 0; r < kRows; ++r)
              expected[static_cast<size_t>(r)] = static_cast<float>(problem.product(r));
            level.gvq.multiply(problem.tile, kRows, problem.x.data(), problem.x_stride,
                               found.data());
            expect_near_by_norm(found.data(), expected.data(), kRows,
                                8 * float_sum_tolerance(codes * vector_size));
            EXPECT_EQ(found[kRows], 42.0f);
          }
        }
      }
    }
  }
}

// What makes results independent of how rows are shared among threads.
TEST(GvqGemv, ARowDoesNotDependOnItsNeighbors) {
  const Problem problem(8, 2, 72, 8);
  for (const KernelTable& level : all_levels()) {
    std::vector<float> all(kRows, 0.5f);
    level.gvq.multiply(problem.tile, kRows, problem.x.data(), problem.x_stride, all.data());
    for (int64_t r = 0; r < kRows; ++r) {
      GvqTile row = problem.tile;
      row.codes += r * row.row_bytes;
      row.block_scales += r * row.scale_stride;
      float one = 0.5f;
      level.gvq.multiply(row, 1, problem.x.data(), problem.x_stride, &one);
      EXPECT_EQ(one, all[static_cast<size_t>(r)]) << isa_name(level.isa) << " row " << r;
    }
  }
}

}  // namespace
}  // namespace bitsmith
