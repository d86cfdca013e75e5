// The kernel over an instruction set's registers; included once by each set's file, everything in
// an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include <cstdint>
#include <type_traits>

#include "kernels/gvq_lookup.h"

namespace bitsmith {
namespace {

// Codes that are needed some hundred cycles later; the column groups of a strip follow each other.
constexpr int64_t kAhead = 2048, kScalesAhead = 256;

template <int kBits>
constexpr int64_t kPacketBytes = (kGvqPacket * kBits) / 8;

// I: the registers, of which kParts hold a packet. Its Table<kBits> is one coordinate of the
// centroids: table[codes].
template <typename I, int kBits, bool kBlockScales>
class GvqLookup {
 public:
  static void multiply(const GvqLookupTiles& tiles, int64_t rows, const GvqLookupInput& x,
                       float* sums) {
    const auto kernel = tiles.vector_size == 1   ? multiply_column_groups<1>
                        : tiles.vector_size == 2 ? multiply_column_groups<2>
                                                 : multiply_column_groups<4>;
    kernel(tiles, rows, x, sums);
  }

 private:
  using Floats = typename I::Floats;
  static constexpr int64_t kLanes = kGvqLanes / I::kParts;

  template <int kSize>
  static void multiply_column_groups(const GvqLookupTiles& tiles, int64_t rows,
                                     const GvqLookupInput& x, float* sums) {
    using T = typename I::template Table<kBits>;
    constexpr int64_t kEntries = kBits <= 4 ? 16 : 1 << kBits;
    const int8_t* t = tiles.tables;
    for (int64_t g = 0; g < tiles.column_groups; ++g, t += kSize * kEntries) {
      const auto run = [&](const auto&... tables) {
        multiply_rows(tiles, g, rows, x, sums, tables...);
      };
      if constexpr (kSize == 1) run(T(t));
      if constexpr (kSize == 2) run(T(t), T(t + kEntries));
      if constexpr (kSize == 4) {
        run(T(t), T(t + kEntries), T(t + 2 * kEntries), T(t + 3 * kEntries));
      }
    }
  }

  template <typename... Tables>
  static void multiply_rows(const GvqLookupTiles& tiles, int64_t column_group, int64_t rows,
                            const GvqLookupInput& x, float* sums, const Tables&... tables) {
    constexpr int64_t kInputs = kGvqPacket * static_cast<int64_t>(sizeof...(tables));
    const int64_t first_packet = column_group * tiles.packets;
    const Floats tile_scale = I::broadcast(tiles.scales[column_group]);
    [[maybe_unused]] const std::conditional_t<kBlockScales, typename I::Scales, const float*>
        block_scales(tiles.scale_values + column_group * (kBlockScales ? 16 : 0));
    const uint8_t* row = tiles.codes + column_group * tiles.column_group_bytes;
    const uint8_t* scales = tiles.block_scales + column_group * tiles.scale_column_group_bytes;
    for (int64_t r = 0; r < rows; ++r, row += tiles.row_bytes, scales += tiles.scale_row_bytes) {
      for (int part = 0; part < I::kParts; ++part) {
        Floats sum = I::zeros();
        for (int64_t b = 0; b < tiles.packets; ++b) {
          const int64_t packet = first_packet + b, lane = part * kLanes;
          const int8_t* inputs = x.codes + packet * kInputs + 4 * lane;
          const uint8_t* from = row + b * kPacketBytes<kBits>;
          __builtin_prefetch(from + kAhead);
          const auto codes = I::template load_codes<kBits>(from, part);
          auto dot = I::start(x.offsets + packet * kGvqLanes + lane);
          ((dot = I::add_products(dot, tables[codes], inputs), inputs += kGvqPacket), ...);
          Floats scale = I::load(x.scales + packet * kGvqLanes + lane);
          if constexpr (kBlockScales) {
            __builtin_prefetch(scales + kScalesAhead);
            int32_t packed;
            __builtin_memcpy(&packed, scales + tiles.scale_bytes[b], sizeof(packed));
            scale = scale * block_scales.look_up(packed, tiles.scale_shifts + b * kGvqLanes + lane);
          }
          sum = I::multiply_add(I::to_floats(dot), scale, sum);
        }
        float* to = sums + r * kGvqLanes + part * kLanes;
        I::store(to, I::multiply_add(sum, tile_scale, I::load(to)));
      }
    }
  }
};

template <typename I, int kBits>
void multiply_bits(const GvqLookupTiles& tiles, int64_t rows, const GvqLookupInput& x,
                   float* sums) {
  const auto kernel = tiles.block_scales ? GvqLookup<I, kBits, true>::multiply
                                         : GvqLookup<I, kBits, false>::multiply;
  kernel(tiles, rows, x, sums);
}

}  // namespace
}  // namespace bitsmith
