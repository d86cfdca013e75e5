#include "runtime/kernels/gvq_lookup.h"

#include <vector>

#include "runtime/kernels/gvq_lookup_layout.h"
#include "runtime/kernels/test_support.h"

namespace bitsmith {
namespace {

constexpr int64_t kRows = 11;

TEST(GvqLookup, CodesComeBackFromTheirPlaces) {
  Random random(1);
  for (const int bits : {2, 4, 6, 8}) {
    for (int64_t place = 0; place < kGvqBlock; ++place) {
      EXPECT_EQ(gvq_place(bits, gvq_position(bits, place)), place);
    }
    for (const int64_t count : {1, 2, 15, 16, 17, 33, 63, 64}) {
      const int64_t bytes = gvq_block_bytes(bits, count);
      std::vector<uint8_t> block(static_cast<size_t>(bytes + 1));
      block.back() = 77;  // the neighbor
      std::vector<int> codes;
      for (int64_t place = 0; place < count; ++place) {
        codes.push_back(static_cast<int>(random.below(1u << bits)));
        store_gvq_code(block.data(), bits, gvq_position(bits, place), codes.back());
      }
      EXPECT_EQ(block.back(), 77) << bits << " bits, " << count;
      block.resize(kGvqBlock);
      uint8_t all[kGvqBlock];
      load_gvq_block(block.data(), bits, all);
      for (int64_t place = 0; place < count; ++place) {
        EXPECT_EQ(load_gvq_code(block.data(), bits, gvq_position(bits, place)),
                  codes[static_cast<size_t>(place)]);
        EXPECT_EQ(all[place], codes[static_cast<size_t>(place)]);
      }
    }
  }
}

// Tiles of random bytes: every code, value and scale in its whole range.
struct Problem {
  static constexpr int64_t kColumnGroups = 3;
  GvqLookupTiles tiles = {};
  GvqLookupInput x = {};
  std::vector<uint8_t> codes, block_scales;
  AlignedBuffer<int8_t> tables, inputs;
  std::vector<float> scales, scale_values, input_scales;
  std::vector<int32_t> scale_bytes, scale_shifts, offsets;

  Problem(int code_bits, int vector_size, int64_t blocks, bool scaled) {
    Random random(static_cast<uint64_t>(1000 * code_bits + 100 * vector_size + blocks));
    const auto fill = [&](auto& bytes, int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        bytes[i] = static_cast<std::remove_reference_t<decltype(bytes[0])>>(random.below(256));
      }
    };
    tiles.column_groups = kColumnGroups;
    tiles.code_bits = code_bits;
    tiles.vector_size = vector_size;
    tiles.blocks = blocks;
    tiles.row_bytes = blocks * gvq_block_bytes(code_bits, kGvqBlock);
    tiles.column_group_bytes =
        (kRows + 2) * tiles.row_bytes;  // the rows are not all of the strip's
    codes.resize(static_cast<size_t>(kColumnGroups * tiles.column_group_bytes + 64));
    fill(codes, kColumnGroups * tiles.column_group_bytes);
    tables = AlignedBuffer<int8_t>(kColumnGroups * vector_size * gvq_table_entries(code_bits));
    fill(tables, tables.size());
    inputs = AlignedBuffer<int8_t>(kColumnGroups * blocks * vector_size * kGvqBlock);
    for (int64_t i = 0; i < inputs.size(); ++i) {
      inputs[i] = static_cast<int8_t>(static_cast<int>(random.below(255)) - 127);
    }
    std::fill_n(inputs.data(), 64, int8_t{127});  // the largest sums
    std::fill_n(tables.data(), 16, int8_t{-128});
    for (int64_t block = 0; block < kColumnGroups * blocks; ++block) {
      for (int64_t lane = 0; lane < kGvqLanes; ++lane) {
        input_scales.push_back(static_cast<float>(random.normal()));
        int32_t sum = 0;
        for (int64_t k = 0; k < 4 * vector_size; ++k) {
          sum += inputs[(block * vector_size + k / 4) * kGvqBlock + 4 * lane + k % 4];
        }
        offsets.push_back(-128 * sum);
        if (block < blocks) scale_shifts.push_back(static_cast<int32_t>(4 * random.below(8)));
      }
      if (block < blocks) scale_bytes.push_back(static_cast<int32_t>(random.below(3)));
    }
    for (int64_t g = 0; g < kColumnGroups; ++g) scales.push_back(0.7f + static_cast<float>(g));
    tiles.codes = codes.data();
    tiles.tables = tables.data();
    tiles.scales = scales.data();
    x = {inputs.data(), input_scales.data(), offsets.data()};
    if (!scaled) return;
    tiles.scale_column_group_bytes = 5;
    tiles.scale_row_bytes = kColumnGroups * 5;
    block_scales.resize(kRows * kColumnGroups * 5 + 16);
    fill(block_scales, kRows * kColumnGroups * 5);
    for (int64_t i = 0; i < kColumnGroups * 16; ++i) {
      scale_values.push_back(std::exp2(0.1f * static_cast<float>(i)));
    }
    tiles.block_scales = block_scales.data();
    tiles.scale_values = scale_values.data();
    tiles.scale_bytes = scale_bytes.data();
    tiles.scale_shifts = scale_shifts.data();
  }
};

TEST(GvqLookup, EveryLevelGivesTheScalarSums) {
  const KernelTable scalar = make_kernel_table(Isa::scalar);
  for (const KernelTable& level : vector_levels()) {
    for (const int bits : {2, 4, 6, 8}) {
      if (bits > level.gvq_lookup.most_code_bits) continue;
      for (const int vector_size : {1, 2, 4}) {
        for (const int64_t blocks : {1, 2, 5}) {
          for (const bool scaled : {false, true}) {
            SCOPED_TRACE(testing::Message()
                         << isa_name(level.isa) << ", " << bits << " bits, D " << vector_size
                         << ", " << blocks << " blocks, scales " << scaled);
            const Problem p(bits, vector_size, blocks, scaled);
            std::vector<float> expected(kRows * kGvqLanes, 0.5f), found = expected;
            scalar.gvq_lookup.multiply(p.tiles, kRows, p.x, expected.data());
            level.gvq_lookup.multiply(p.tiles, kRows, p.x, found.data());
            expect_near_by_norm(found.data(), expected.data(), kRows * kGvqLanes, 1e-6);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace bitsmith
