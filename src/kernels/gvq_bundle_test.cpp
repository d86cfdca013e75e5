#include "kernels/gvq_bundle.h"

#include <algorithm>
#include <vector>

#include "kernels/gvq_bundle_layout.h"
#include "kernels/test_support.h"

namespace bitsmith {
namespace {

struct Codes {
  int bits, vector_size, lane_codes;
};
// Every layout.
constexpr Codes kCodes[] = {{4, 1, 4}, {4, 2, 4}, {4, 4, 4}, {6, 2, 4},
                            {6, 2, 2}, {8, 2, 2}, {8, 4, 2}, {8, 4, 1}};

TEST(GvqBundle, CodesComeBackFromTheirPlaces) {
  Random random(1);
  for (const auto [bits, d, lane] : kCodes) {
    const int64_t bytes = gvq_bundle_unit_bytes(bits, d);
    std::vector<uint8_t> unit(static_cast<size_t>(bytes + 1));
    unit.back() = 77;  // the neighbor
    std::vector<int> codes;
    for (int64_t i = 0; i < kGvqBundleRows * kInt8Unit / d; ++i) {
      codes.push_back(static_cast<int>(random.below(uint64_t{1} << bits)));
      store_gvq_bundle_code(unit.data(), bits, lane, i % kGvqBundleRows, i / kGvqBundleRows,
                            codes.back());
    }
    EXPECT_EQ(unit.back(), 77) << bits << " bits, D " << d;
    for (int64_t i = 0; i < std::ssize(codes); ++i) {
      EXPECT_EQ(
          load_gvq_bundle_code(unit.data(), bits, lane, i % kGvqBundleRows, i / kGvqBundleRows),
          codes[static_cast<size_t>(i)]);
    }
  }
}

TEST(GvqBundle, UnitsHoldEachInputOnceAndTablesEachValue) {
  for (const auto [bits, d, lane] : kCodes) {
    std::vector<bool> seen(kInt8Unit), placed(static_cast<size_t>(gvq_bundle_table_bytes(bits, d)));
    for (int64_t i = 0; i < kInt8Unit; ++i) {
      const int64_t input = gvq_bundle_input(lane, d, i);
      ASSERT_TRUE(input >= 0 && input < kInt8Unit);
      EXPECT_FALSE(seen[static_cast<size_t>(input)]) << bits << " bits, D " << d << ": " << i;
      seen[static_cast<size_t>(input)] = true;
    }
    for (int64_t code = 0; code < int64_t{1} << bits; ++code) {
      for (int64_t t = 0; t < d; ++t) {
        const auto place = static_cast<size_t>(gvq_bundle_table_place(bits, lane, code, t));
        ASSERT_LT(place, placed.size());
        EXPECT_FALSE(placed[place]);
        placed[place] = true;
      }
    }
  }
}

// Random bytes: every code, value and scale in its whole range. Three strips, the last one short.
struct Problem {
  static constexpr int64_t kColumnGroups = 3, kBundles = 5;
  GvqBundles w = {};
  GvqBundleInput x = {};
  AlignedBuffer<uint8_t> pieces, tables;
  std::vector<float> scales, input_scales;
  AlignedBuffer<int8_t> inputs;
  std::vector<int32_t> sums;

  // scale_units_log2 < 0: no block scales.
  Problem(Codes codes, int64_t group_units, int scale_units_log2, int64_t lane_tiles) {
    Random random(static_cast<uint64_t>(1000 * codes.bits + 100 * codes.vector_size + group_units));
    const auto fill = [&](auto& bytes) {
      for (int64_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<std::remove_reference_t<decltype(bytes[0])>>(random.below(256));
      }
    };
    const bool scaled = scale_units_log2 >= 0;
    w.code_bits = codes.bits;
    w.vector_size = codes.vector_size;
    w.lane_codes = codes.lane_codes;
    w.column_groups = kColumnGroups;
    w.group_units = group_units;
    w.scale_units_log2 = scaled ? scale_units_log2 : 0;
    const int64_t blocks =
        (group_units + (int64_t{1} << w.scale_units_log2) - 1) >> w.scale_units_log2;
    w.scale_bytes = scaled ? gvq_bundle_scale_bytes(blocks) : 0;
    w.lane_tiles = lane_tiles;
    w.strip_bundles = lane_tiles > 1 ? 1 : 2;
    const int64_t tiles = (lane_tiles > 1 ? kBundles * lane_tiles : 3) * kColumnGroups;
    pieces = AlignedBuffer<uint8_t>(kBundles * kColumnGroups * gvq_bundle_piece_bytes(w));
    fill(pieces);
    tables = AlignedBuffer<uint8_t>(tiles * gvq_bundle_table_bytes(codes.bits, codes.vector_size));
    fill(tables);
    std::fill_n(tables.data(), 16, uint8_t{0});  // -128
    for (int64_t i = 0; i < tiles * (scaled ? 16 : 1); ++i)
      scales.push_back(static_cast<float>(random.normal()));
    const int64_t units = kColumnGroups * group_units;
    inputs = AlignedBuffer<int8_t>(units * kInt8Unit);
    for (int64_t i = 0; i < inputs.size(); ++i) {
      inputs[i] = static_cast<int8_t>(static_cast<int>(random.below(255)) - 127);
    }
    std::fill_n(inputs.data(), kInt8Unit, int8_t{127});  // the largest sums
    for (int64_t u = 0; u < units; ++u) {
      input_scales.push_back(static_cast<float>(random.normal()));
      int32_t sum = 0;
      for (int64_t i = 0; i < kInt8Unit; ++i) sum += inputs[u * kInt8Unit + i];
      sums.push_back(sum);
    }
    w.pieces = pieces.data();
    w.tables = tables.data();
    w.scales = scales.data();
    x = {inputs.data(), input_scales.data(), sums.data()};
  }
};

// Those that the level takes; with scalar all.
template <typename F>
void for_each_problem(const KernelTable& level, const F& f) {
  for (const Codes codes : kCodes) {
    if (level.isa != Isa::scalar &&
        level.gvq_bundle.lane_codes(codes.bits, codes.vector_size) != codes.lane_codes)
      continue;
    for (const int64_t group_units : {1, 2, 3, 8, 9}) {
      for (const int log2 : {-1, 0, 1, 3}) {
        SCOPED_TRACE(testing::Message() << codes.bits << " bits, D " << codes.vector_size << ", "
                                        << group_units << " units, a scale for 2^" << log2);
        f(Problem(codes, group_units, log2, 1));
        for (const int64_t tiles : {2, 4}) {
          if (codes.bits == 4 && log2 < 0) f(Problem(codes, group_units, log2, tiles));
        }
      }
    }
  }
}

TEST(GvqBundle, EveryLevelGivesTheScalarSums) {
  const KernelTable scalar = make_kernel_table(Isa::scalar);
  for (const KernelTable& level : vector_levels()) {
    SCOPED_TRACE(isa_name(level.isa));
    for_each_problem(level, [&](const Problem& p) {
      constexpr int64_t kRows = Problem::kBundles * kGvqBundleRows;
      std::vector<float> expected(kRows), found(kRows);
      scalar.gvq_bundle.multiply(p.w, 0, Problem::kBundles, p.x, expected.data());
      level.gvq_bundle.multiply(p.w, 0, Problem::kBundles, p.x, found.data());
      expect_near_by_norm(found.data(), expected.data(), kRows, 1e-6);
      // Bundles from the middle of a strip on, and no more of them than asked for.
      std::vector<float> some(2 * kGvqBundleRows + 1, 7.0f);
      level.gvq_bundle.multiply(p.w, 1, 2, p.x, some.data());
      EXPECT_TRUE(std::equal(some.begin(), some.end() - 1, found.begin() + kGvqBundleRows));
      EXPECT_EQ(some.back(), 7.0f);
    });
  }
}

// Bundles that begin and end anywhere in a panel.
TEST(GvqBundle, EveryLevelDecodesTheSamePanel) {
  const KernelTable scalar = make_kernel_table(Isa::scalar);
  struct Part {
    int64_t begin, end, row;
  };
  for (const KernelTable& level : vector_levels()) {
    SCOPED_TRACE(isa_name(level.isa));
    for_each_problem(level, [&](const Problem& p) {
      const int64_t group_inputs = p.w.group_units * kInt8Unit, inputs = 2 * group_inputs;
      for (const auto [begin, end, row] :
           {Part{0, 16, 0}, Part{0, 16, 16}, Part{5, 16, -5}, Part{0, 11, 21}, Part{3, 4, 9}}) {
        AlignedBuffer<int8_t> codes[2];
        AlignedBuffer<float> scales[2];
        for (int i = 0; i < 2; ++i) {
          codes[i] = AlignedBuffer<int8_t>(inputs * kInt8Rows);
          scales[i] = AlignedBuffer<float>(inputs / kInt8Unit * kInt8Rows);
          std::fill_n(codes[i].data(), codes[i].size(), int8_t{99});  // other rows stay
          std::fill_n(scales[i].data(), scales[i].size(), 99.0f);
          const Int8Panel panel = {inputs, kInt8Unit, codes[i].data(), scales[i].data()};
          const auto& kernels = i == 0 ? scalar.gvq_bundle : level.gvq_bundle;
          kernels.decode_int8(p.w, /*bundle=*/3, begin, end, group_inputs, panel, row);
        }
        EXPECT_TRUE(
            std::equal(codes[0].data(), codes[0].data() + codes[0].size(), codes[1].data()));
        EXPECT_TRUE(
            std::equal(scales[0].data(), scales[0].data() + scales[0].size(), scales[1].data()));
      }
    });
  }
}

// Several tokens by int8 panels have the bits of one.
TEST(GvqBundle, SumsAreThoseOfInt8Panels) {
  for (const KernelTable& level : all_levels()) {
    SCOPED_TRACE(isa_name(level.isa));
    for_each_problem(level, [&](const Problem& p) {
      const int64_t inputs = Problem::kColumnGroups * p.w.group_units * kInt8Unit;
      AlignedBuffer<int8_t> codes(inputs * kInt8Rows);
      AlignedBuffer<float> scales(inputs / kInt8Unit * kInt8Rows), sums(kInt8Rows);
      const Int8Panel panel = {inputs, kInt8Unit, codes.data(), scales.data()};
      level.gvq_bundle.decode_int8(p.w, 2, 0, 16, 0, panel, 0);
      level.gvq_bundle.decode_int8(p.w, 3, 0, 16, 0, panel, 16);
      level.int8_gemm.multiply(panel, {p.x.codes, p.x.scales, p.x.sums, inputs}, 1, sums.data());
      std::vector<float> expected(kInt8Rows);
      level.gvq_bundle.multiply(p.w, 2, 2, p.x, expected.data());
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), sums.data()));
    });
  }
}

}  // namespace
}  // namespace bitsmith
