// GvqLookupKernels::decode() and decode_scales() over an instruction set's registers; included once
// by each set's file, everything in an unnamed namespace so that no other file's copy is ever
// linked in its place.
#pragma once
#include <cstdint>

#include "kernels/gvq_lookup.h"

namespace bitsmith {
namespace {

// I: the registers, whose Words have a 32-bit lane a row here: four codes, or four values, of it.
// The codes of a register's rows are transposed to that order, which costs less than to transpose
// the values; the values are then in the panel's order as they are looked up.
template <typename I, int kBits, int kSize>
class GvqDecode {
 public:
  static void decode(const GvqStripRows* strips, int64_t count, int64_t places, int8_t* codes) {
    for (int64_t first = 0; first < kInt8Rows; first += I::kLanes) {
      const Lanes lanes(strips, count, first);
      if (lanes.segments == 0) return;
      int8_t* to = codes + 4 * first;
      for (int64_t g = 0; g < strips->tiles.column_groups; ++g) {
        if (kBits <= 4 && lanes.by_fours) {
          decode_segments(lanes, g, 0, lanes.segments, places, to);
        } else {
          for (int s = 0; s < lanes.segments; ++s) decode_segments(lanes, g, s, s + 1, places, to);
        }
        to += places * kSize * kInt8Rows;
      }
    }
  }

 private:
  using Words = typename I::Words;
  using Floats = typename I::Floats;
  using Mask = typename I::Mask;
  using Table = typename I::template Table<kBits>;
  static constexpr bool kPairs = kBits == 4 || kBits == 6;  // as in gvq_place()
  static constexpr int64_t kPacketBytes = kGvqPacket * kBits / 8;
  static constexpr int64_t kLoadWords = 16;  // that are transposed at a time: 64 bytes a row
  static constexpr int64_t kPacketWords = kPacketBytes / 4;
  static constexpr int64_t kEntries = kBits <= 4 ? 16 : 1 << kBits;
  static constexpr int64_t kFourBytes = 4 * kInt8Rows;  // from four inputs of a row to the next
  // What of a register is stored.
  struct AllLanes {};
  struct SomeLanes {
    Mask mask;
  };

  // Rows [first, first + kLanes) of the panel. Where there are fewer, the last lanes are the first
  // row once more.
  struct Lanes {
    struct Segment {  // the lanes of one strip
      const GvqLookupTiles* tiles;
      Mask mask;
    };
    const uint8_t* codes[I::kLanes] = {};
    int64_t column_group_bytes[I::kLanes] = {};
    Segment segment[I::kLanes] = {};
    int segments = 0;
    bool by_fours = true;  // segments begin at multiples of four lanes

    Lanes(const GvqStripRows* strips, int64_t count, int64_t first) {
      int64_t lane = 0, row = -first;  // the lane of the next strip's first row
      for (int64_t s = 0; s < count && lane < I::kLanes; row += strips[s].rows, ++s) {
        const GvqLookupTiles& tiles = strips[s].tiles;
        const int64_t begin = lane, end = row + strips[s].rows;
        for (; lane < end && lane < I::kLanes; ++lane) set_lane(lane, tiles, lane - row);
        if (lane == begin) continue;
        by_fours = by_fours && begin % 4 == 0;
        segment[segments++] = {&tiles, static_cast<Mask>(~I::first_lanes(begin))};
      }
      if (segments == 0) return;
      for (; lane < I::kLanes; ++lane) {
        codes[lane] = codes[0];
        column_group_bytes[lane] = column_group_bytes[0];
      }
    }
    void set_lane(int64_t lane, const GvqLookupTiles& tiles, int64_t row) {
      codes[lane] = tiles.codes + row * tiles.row_bytes;
      column_group_bytes[lane] = tiles.column_group_bytes;
    }
  };

  // Segments [first, end) at once, in column group g. A segment's mask reaches to the last lane:
  // the next segment, or the next call, overwrites what is not its own.
  static void decode_segments(const Lanes& lanes, int64_t g, int first, int end, int64_t places,
                              int8_t* to) {
    const auto table = [&](int t) {
      Table merged = table_of(lanes.segment[first], g, t);
      if constexpr (kBits <= 4) {
        for (int s = first + 1; s < end; ++s)
          merged.replace(lanes.segment[s].mask, table_of(lanes.segment[s], g, t));
      }
      return merged;
    };
    const auto run = [&](const auto&... tables) {
      if (first == 0) {
        decode_packets(lanes, g, AllLanes(), places, to, tables...);
      } else {
        decode_packets(lanes, g, SomeLanes{lanes.segment[first].mask}, places, to, tables...);
      }
    };
    if constexpr (kSize == 1) run(table(0));
    if constexpr (kSize == 2) run(table(0), table(1));
    if constexpr (kSize == 4) run(table(0), table(1), table(2), table(3));
  }
  static Table table_of(const typename Lanes::Segment& segment, int64_t g, int t) {
    return Table(segment.tiles->tables + (g * kSize + t) * kEntries, /*bias=*/0);
  }

  template <typename Stored, typename... Tables>
  static void decode_packets(const Lanes& lanes, int64_t g, Stored stored, int64_t places,
                             int8_t* to, const Tables&... tables) {
    constexpr int64_t kAtOnce = kLoadWords / kPacketWords;  // packets
    const int64_t packets = lanes.segment[0].tiles->packets;
    for (int64_t b = 0; b < packets; b += kAtOnce) {
      alignas(64) int32_t words[kLoadWords * I::kLanes];
      transpose_codes(lanes, g, b * kPacketBytes, words);
      for (int64_t k = 0; k < kAtOnce && b + k < packets; ++k) {
        const int64_t before = (b + k) * kGvqPacket;
        store_fours<0>(words + k * kPacketWords * I::kLanes, stored, places - before,
                       to + before * kSize * kInt8Rows, tables...);
      }
    }
  }

  // words[i, lane] = bytes 4 i .. 4 i + 3 of a row's codes from `offset` on.
  static void transpose_codes(const Lanes& lanes, int64_t g, int64_t offset, int32_t* words) {
    for (int64_t i = 0; i < kLoadWords; i += I::kLanes) {
      Floats square[I::kLanes];
      for (int64_t r = 0; r < I::kLanes; ++r) {
        const uint8_t* from = lanes.codes[r] + g * lanes.column_group_bytes[r] + offset + 4 * i;
        square[r] = I::load(reinterpret_cast<const float*>(from));
      }
      I::transpose(square, reinterpret_cast<float*>(words + i * I::kLanes), I::kLanes);
    }
  }

  // The codes at positions 4 Q .. 4 Q + 3 of a packet.
  template <int Q>
  static Words four_codes(const int32_t* words) {
    const auto word = [&](int i) {
      return I::bits(I::load(reinterpret_cast<const float*>(words + i * I::kLanes)));
    };
    if constexpr (kBits == 2) return I::template take_bits<Q / 4 * 2, 2>(word(Q % 4));
    if constexpr (kBits == 4) return I::template take_bits<Q / 8 * 4, 4>(word(Q % 8));
    if constexpr (kBits == 6) {
      return I::template six_bits<Q / 4 * 2, Q / 8 * 4>(word(Q % 4), word(4 + Q % 8));
    }
    if constexpr (kBits == 8) return word(Q);
  }

  // The coordinates of the codes at positions 4 Q and up of a packet, of which `places` are there.
  template <int Q, typename Stored, typename... Tables>
  static void store_fours(const int32_t* words, Stored stored, int64_t places, int8_t* to,
                          const Tables&... tables) {
    if constexpr (Q < 16) {
      constexpr int kFirstPlace = kPairs ? Q % 8 * 8 : Q * 4;  // of those that lie together
      constexpr int kBefore = kPairs ? Q % 8 * 2 + Q / 8 : Q;
      if (kFirstPlace < places) {
        const Words codes = four_codes<Q>(words);
        int8_t* four = to + kBefore * kSize * kFourBytes;
        ((store(four, stored, tables[codes]), four += kFourBytes), ...);
      }
      store_fours<Q + 1>(words, stored, places, to, tables...);
    }
  }

  static void store(int8_t* to, AllLanes, Words values) {
    I::store(reinterpret_cast<int32_t*>(to), values);
  }
  static void store(int8_t* to, SomeLanes some, Words values) {
    const Words before = I::bits(I::load(reinterpret_cast<const float*>(to)));
    I::store(reinterpret_cast<int32_t*>(to), I::select(some.mask, values, before));
  }
};

template <typename I, int kBits>
void decode_bits(const GvqStripRows* strips, int64_t count, int64_t places, int8_t* codes) {
  const int size = strips->tiles.vector_size;
  const auto kernel = size == 1   ? GvqDecode<I, kBits, 1>::decode
                      : size == 2 ? GvqDecode<I, kBits, 2>::decode
                                  : GvqDecode<I, kBits, 4>::decode;
  kernel(strips, count, places, codes);
}

template <typename I>
void decode_scales(const GvqLookupTiles& tiles, int64_t rows, int64_t blocks, float* scales,
                   int64_t stride) {
  constexpr int64_t kCodes = 8;  // in four bytes
  static constexpr int32_t kShifts[16] = {0, 4, 8, 12, 16, 20, 24, 28};
  for (int64_t g = 0; g < tiles.column_groups; ++g) {
    const typename I::Scales values(tiles.scale_values + g * 16);
    const auto tile_scale = I::broadcast(tiles.scales[g]);
    const uint8_t* codes = tiles.block_scales + g * tiles.scale_column_group_bytes;
    float* to = scales + g * blocks;
    for (int64_t r = 0; r < rows; ++r, codes += tiles.scale_row_bytes, to += stride) {
      for (int64_t b = 0; b < blocks; b += kCodes) {
        int32_t packed;
        __builtin_memcpy(&packed, codes + b / 2, sizeof(packed));
        const int64_t left = blocks - b < kCodes ? blocks - b : kCodes;
        for (int64_t i = 0; i < left; i += I::kLanes) {
          I::store_first(to + b + i, values.look_up(packed, kShifts + i) * tile_scale,
                         left - i < I::kLanes ? left - i : I::kLanes);
        }
      }
    }
  }
}

}  // namespace
}  // namespace bitsmith
