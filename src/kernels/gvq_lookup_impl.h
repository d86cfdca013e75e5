// The kernel over an instruction set's registers; included once by each set's file, everything in
// an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include <cstdint>
#include <type_traits>
#include <utility>

#include "kernels/gvq_lookup.h"

namespace bitsmith {
namespace {

// Codes that memory sends some 200 ns later.
constexpr int64_t kAhead = 4096, kScalesAhead = 256;

template <int kBits>
constexpr int64_t kPacketBytes = (kGvqPacket * kBits) / 8;

// I: the registers, of which kParts hold a packet. kRows rows at a time share the loads of the
// inputs. Its Table<kBits> is one coordinate of the centroids: table[codes].
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
    constexpr std::make_integer_sequence<int, I::kRows> kRowsAtOnce{};
    constexpr int64_t kEntries = kBits <= 4 ? 16 : 1 << kBits;
    const int8_t* t = tiles.tables;
    for (int64_t g = 0; g < tiles.column_groups; ++g, t += kSize * kEntries) {
      const auto run = [&](const auto&... tables) {
        multiply_rows(kRowsAtOnce, tiles, g, rows, x, sums, tables...);
      };
      if constexpr (kSize == 1) run(T(t));
      if constexpr (kSize == 2) run(T(t), T(t + kEntries));
      if constexpr (kSize == 4) {
        run(T(t), T(t + kEntries), T(t + 2 * kEntries), T(t + 3 * kEntries));
      }
    }
  }

  // Structs by value: what is behind a reference would be read again after every store. Without
  // loops over the rows k..., for which compilers keep the sums in memory.
  template <int... k, typename... Tables>
  static void multiply_rows(std::integer_sequence<int, k...>, const GvqLookupTiles tiles,
                            int64_t column_group, int64_t rows, const GvqLookupInput x, float* sums,
                            const Tables&... tables) {
    constexpr int64_t kRows = sizeof...(k);
    constexpr int64_t kInputs = kGvqPacket * static_cast<int64_t>(sizeof...(tables));
    const int64_t first_packet = column_group * tiles.packets;
    const Floats tile_scale = I::broadcast(tiles.scales[column_group]);
    [[maybe_unused]] const std::conditional_t<kBlockScales, typename I::Scales, const float*>
        block_scales(tiles.scale_values + column_group * (kBlockScales ? 16 : 0));
    const uint8_t* const codes = tiles.codes + column_group * tiles.column_group_bytes;
    const uint8_t* const scale_codes =
        tiles.block_scales + column_group * tiles.scale_column_group_bytes;
    for (int64_t r = 0; r < rows; r += kRows) {
      // In place of rows that are missing the last one once more.
      const int64_t row[] = {(r + k < rows ? r + k : rows - 1)...};
      for (int part = 0; part < I::kParts; ++part) {
        Floats sum[] = {(static_cast<void>(k), I::zeros())...};
        for (int64_t b = 0; b < tiles.packets; ++b) {
          const int64_t packet = first_packet + b, lane = part * kLanes;
          const auto start = I::start(x.offsets + packet * kGvqLanes + lane);
          const Floats input_scale = I::load(x.scales + packet * kGvqLanes + lane);
          const auto add = [&](int64_t at, Floats total) __attribute__((always_inline)) {
            const uint8_t* from = codes + at * tiles.row_bytes + b * kPacketBytes<kBits>;
            __builtin_prefetch(from + kAhead);
            const auto indices = I::template load_codes<kBits>(from, part);
            const int8_t* inputs = x.codes + packet * kInputs + 4 * lane;
            auto dot = start;
            ((dot = I::add_products(dot, tables[indices], inputs), inputs += kGvqPacket), ...);
            Floats scale = input_scale;
            if constexpr (kBlockScales) {
              const uint8_t* scales = scale_codes + at * tiles.scale_row_bytes;
              __builtin_prefetch(scales + kScalesAhead);
              int32_t packed;
              __builtin_memcpy(&packed, scales + tiles.scale_bytes[b], sizeof(packed));
              scale =
                  scale * block_scales.look_up(packed, tiles.scale_shifts + b * kGvqLanes + lane);
            }
            return I::multiply_add(I::to_floats(dot), scale, total);
          };
          ((sum[k] = add(row[k], sum[k])), ...);
        }
        float* to = sums + part * kLanes;
        ((sum[k] = I::multiply_add(sum[k], tile_scale, I::load(to + row[k] * kGvqLanes))), ...);
        (I::store(to + row[k] * kGvqLanes, sum[k]), ...);
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
