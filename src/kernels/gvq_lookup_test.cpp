#include "kernels/gvq_lookup.h"

#include <algorithm>
#include <vector>

#include "kernels/gvq_lookup_layout.h"
#include "kernels/test_support.h"

namespace bitsmith {
namespace {

constexpr int64_t kRows = 11;

TEST(GvqLookup, CodesComeBackFromTheirPlaces) {
  Random random(1);
  for (const int bits : {2, 4, 6, 8}) {
    for (int64_t place = 0; place < kGvqPacket; ++place) {
      EXPECT_EQ(gvq_place(bits, gvq_position(bits, place)), place);
    }
    for (const int64_t count : {1, 2, 15, 16, 17, 33, 63, 64}) {
      const int64_t bytes = gvq_packet_bytes(bits, count);
      std::vector<uint8_t> packet(static_cast<size_t>(bytes + 1));
      packet.back() = 77;  // the neighbor
      std::vector<int> codes;
      for (int64_t place = 0; place < count; ++place) {
        codes.push_back(static_cast<int>(random.below(1u << bits)));
        store_gvq_code(packet.data(), bits, gvq_position(bits, place), codes.back());
      }
      EXPECT_EQ(packet.back(), 77) << bits << " bits, " << count;
      packet.resize(kGvqPacket);
      uint8_t all[kGvqPacket];
      load_gvq_packet(packet.data(), bits, all);
      for (int64_t place = 0; place < count; ++place) {
        EXPECT_EQ(load_gvq_code(packet.data(), bits, gvq_position(bits, place)),
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

  Problem(int code_bits, int vector_size, int64_t packets, bool scaled) {
    Random random(static_cast<uint64_t>(1000 * code_bits + 100 * vector_size + packets));
    const auto fill = [&](auto& bytes, int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        bytes[i] = static_cast<std::remove_reference_t<decltype(bytes[0])>>(random.below(256));
      }
    };
    tiles.column_groups = kColumnGroups;
    tiles.code_bits = code_bits;
    tiles.vector_size = vector_size;
    tiles.packets = packets;
    tiles.row_bytes = packets * gvq_packet_bytes(code_bits, kGvqPacket);
    tiles.column_group_bytes =
        (kRows + 2) * tiles.row_bytes;  // the rows are not all of the strip's
    codes.resize(static_cast<size_t>(kColumnGroups * tiles.column_group_bytes + 64));
    fill(codes, kColumnGroups * tiles.column_group_bytes);
    tables = AlignedBuffer<int8_t>(kColumnGroups * vector_size * gvq_table_entries(code_bits));
    fill(tables, tables.size());
    inputs = AlignedBuffer<int8_t>(kColumnGroups * packets * vector_size * kGvqPacket);
    for (int64_t i = 0; i < inputs.size(); ++i) {
      inputs[i] = static_cast<int8_t>(static_cast<int>(random.below(255)) - 127);
    }
    std::fill_n(inputs.data(), 64, int8_t{127});  // the largest sums
    std::fill_n(tables.data(), 16, int8_t{-128});
    for (int64_t packet = 0; packet < kColumnGroups * packets; ++packet) {
      for (int64_t lane = 0; lane < kGvqLanes; ++lane) {
        input_scales.push_back(static_cast<float>(random.normal()));
        int32_t sum = 0;
        for (int64_t k = 0; k < 4 * vector_size; ++k) {
          sum += inputs[(packet * vector_size + k / 4) * kGvqPacket + 4 * lane + k % 4];
        }
        offsets.push_back(-128 * sum);
        if (packet < packets) scale_shifts.push_back(static_cast<int32_t>(4 * random.below(8)));
      }
      if (packet < packets) scale_bytes.push_back(static_cast<int32_t>(random.below(3)));
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
        for (const int64_t packets : {1, 2, 5}) {
          for (const bool scaled : {false, true}) {
            SCOPED_TRACE(testing::Message()
                         << isa_name(level.isa) << ", " << bits << " bits, D " << vector_size
                         << ", " << packets << " packets, scales " << scaled);
            const Problem p(bits, vector_size, packets, scaled);
            for (const int64_t rows : {int64_t{1}, int64_t{2}, kRows}) {  // those below untouched
              std::vector<float> expected(kRows * kGvqLanes, 0.5f), found = expected;
              scalar.gvq_lookup.multiply(p.tiles, rows, p.x, expected.data());
              level.gvq_lookup.multiply(p.tiles, rows, p.x, found.data());
              expect_near_by_norm(found.data(), expected.data(), kRows * kGvqLanes, 1e-6);
              EXPECT_TRUE(std::equal(found.begin() + rows * kGvqLanes, found.end(),
                                     expected.begin() + rows * kGvqLanes));
            }
          }
        }
      }
    }
  }
}

// Rows that share loads, and the last one that stands in for a missing one.
TEST(GvqLookup, ARowDoesNotDependOnTheOthers) {
  for (const KernelTable& level : all_levels()) {
    for (const int bits : {2, 4, 6, 8}) {
      if (bits > level.gvq_lookup.most_code_bits) continue;
      for (const int vector_size : {1, 2, 4}) {
        const Problem p(bits, vector_size, 3, /*scaled=*/true);
        std::vector<float> all(kRows * kGvqLanes), alone = all;
        level.gvq_lookup.multiply(p.tiles, kRows, p.x, all.data());
        GvqLookupTiles row = p.tiles;
        for (int64_t r = 0; r < kRows; ++r) {
          level.gvq_lookup.multiply(row, 1, p.x, alone.data() + r * kGvqLanes);
          row.codes += row.row_bytes;
          row.block_scales += row.scale_row_bytes;
        }
        EXPECT_EQ(all, alone) << isa_name(level.isa) << ", " << bits << " bits, D " << vector_size;
      }
    }
  }
}

TEST(GvqLookup, PanelsHoldEachInputOnce) {
  for (const int bits : {2, 4, 6, 8}) {
    for (const int64_t d : {1, 2, 4}) {
      std::vector<bool> seen(64);
      for (int64_t i = 0; i < 64; ++i) {
        const int64_t input = gvq_panel_input(bits, d, i);
        // Inputs stay in their run of four or eight codes, and so in their scale block.
        const int64_t run = d * (bits == 4 || bits == 6 ? 8 : 4);
        EXPECT_EQ(input / run, i / run);
        EXPECT_FALSE(seen[static_cast<size_t>(input)]) << bits << " bits, D " << d << ": " << i;
        seen[static_cast<size_t>(input)] = true;
      }
    }
  }
}

// Strips that begin anywhere in a panel, and panels that are not full.
TEST(GvqLookup, EveryLevelDecodesTheSamePanel) {
  const KernelTable scalar = make_kernel_table(Isa::scalar);
  for (const KernelTable& level : all_levels()) {
    for (const int bits : {2, 4, 6, 8}) {
      if (bits > level.gvq_lookup.most_code_bits) continue;
      for (const int vector_size : {1, 2, 4}) {
        for (const int64_t places : {8, 56, 64, 72, 128, 320}) {
          const int64_t packets = (places + kGvqPacket - 1) / kGvqPacket;
          const Problem p(bits, vector_size, packets, false);
          for (const auto& strip_rows :
               std::vector<std::vector<int64_t>>{{8, 8, 8, 8}, {11, 11, 10}, {1}, {4, 3, 11}}) {
            // Each strip has tables and codes of its own.
            std::vector<GvqStripRows> strips;
            for (size_t s = 0; s < strip_rows.size(); ++s) {
              GvqLookupTiles tiles = p.tiles;
              tiles.column_groups = strip_rows.size() > 1 ? 1 : Problem::kColumnGroups;
              tiles.tables += static_cast<int64_t>(s % 3) * vector_size * gvq_table_entries(bits);
              tiles.codes += static_cast<int64_t>(s % 3) * tiles.column_group_bytes;
              strips.push_back({tiles, strip_rows[s]});
            }
            const int64_t inputs = strips[0].tiles.column_groups * places * vector_size;
            AlignedBuffer<int8_t> expected(inputs * kInt8Rows), found(inputs * kInt8Rows);
            const auto count = static_cast<int64_t>(strips.size());
            scalar.gvq_lookup.decode(strips.data(), count, places, expected.data());
            level.gvq_lookup.decode(strips.data(), count, places, found.data());
            int64_t rows = 0;
            for (const int64_t r : strip_rows) rows += r;
            for (int64_t i = 0; i < inputs; ++i) {
              for (int64_t r = 0; r < rows; ++r) {
                const int64_t at = (i / 4 * kInt8Rows + r) * 4 + i % 4;
                ASSERT_EQ(found[at], expected[at])
                    << isa_name(level.isa) << ", " << bits << " bits, D " << vector_size << ", "
                    << places << " places, input " << i << ", row " << r;
              }
            }
          }
        }
      }
    }
  }
}

TEST(GvqLookup, EveryLevelDecodesTheSameScales) {
  const KernelTable scalar = make_kernel_table(Isa::scalar);
  const Problem p(4, 2, 1, /*scaled=*/true);
  for (const KernelTable& level : vector_levels()) {
    for (const int64_t blocks : {1, 2, 7, 8, 9, 10}) {
      const int64_t stride = Problem::kColumnGroups * blocks + 1;
      std::vector<float> expected(static_cast<size_t>(kRows * stride), 7.0f), found = expected;
      scalar.gvq_lookup.decode_scales(p.tiles, kRows, blocks, expected.data(), stride);
      level.gvq_lookup.decode_scales(p.tiles, kRows, blocks, found.data(), stride);
      EXPECT_EQ(found, expected) << isa_name(level.isa) << ", " << blocks << " blocks";
    }
  }
}

}  // namespace
}  // namespace bitsmith
