#include <cstring>

#include "kernels/gvq_lookup_layout.h"

namespace bitsmith {
namespace {

float block_scale(const GvqLookupTiles& tiles, int64_t column_group, int64_t row, int64_t packet,
                  int64_t lane) {
  uint32_t codes;
  std::memcpy(&codes,
              tiles.block_scales + row * tiles.scale_row_bytes +
                  column_group * tiles.scale_column_group_bytes + tiles.scale_bytes[packet],
              sizeof(codes));
  const int shift = tiles.scale_shifts[packet * kGvqLanes + lane];
  return tiles.scale_values[column_group * 16 + (codes >> shift & 15)];
}

void multiply(const GvqLookupTiles& tiles, int64_t rows, const GvqLookupInput& x, float* sums) {
  const int64_t d = tiles.vector_size, entries = gvq_table_entries(tiles.code_bits);
  const int64_t packet_bytes = gvq_packet_bytes(tiles.code_bits, kGvqPacket);
  for (int64_t g = 0; g < tiles.column_groups; ++g) {
    const int8_t* table = tiles.tables + g * d * entries;
    for (int64_t r = 0; r < rows; ++r) {
      float part[kGvqLanes] = {};
      for (int64_t b = 0; b < tiles.packets; ++b) {
        const uint8_t* codes =
            tiles.codes + g * tiles.column_group_bytes + r * tiles.row_bytes + b * packet_bytes;
        const int64_t packet = g * tiles.packets + b;
        const int8_t* inputs = x.codes + packet * d * kGvqPacket;
        for (int64_t lane = 0; lane < kGvqLanes; ++lane) {
          int32_t dot = 0;
          for (int64_t position = 4 * lane; position < 4 * lane + 4; ++position) {
            const int code = load_gvq_code(codes, tiles.code_bits, position);
            for (int64_t t = 0; t < d; ++t) {
              dot += table[t * entries + code] * inputs[t * kGvqPacket + position];
            }
          }
          float scale = x.scales[packet * kGvqLanes + lane];
          if (tiles.block_scales) scale *= block_scale(tiles, g, r, b, lane);
          part[lane] += scale * static_cast<float>(dot);
        }
      }
      for (int64_t lane = 0; lane < kGvqLanes; ++lane) {
        sums[r * kGvqLanes + lane] += tiles.scales[g] * part[lane];
      }
    }
  }
}

void decode(const GvqStripRows* strips, int64_t count, int64_t places, int8_t* codes) {
  int64_t first = 0;  // row of the strip
  for (int64_t s = 0; s < count; first += strips[s].rows, ++s) {
    const GvqLookupTiles& tiles = strips[s].tiles;
    const int64_t d = tiles.vector_size, entries = gvq_table_entries(tiles.code_bits);
    const int64_t packet_bytes = gvq_packet_bytes(tiles.code_bits, kGvqPacket);
    for (int64_t i = 0; i < tiles.column_groups * places * d; ++i) {
      const int64_t input = gvq_panel_input(tiles.code_bits, d, i), g = input / (places * d);
      const int64_t place = input / d % places, coordinate = input % d;
      const int8_t* table = tiles.tables + (g * d + coordinate) * entries;
      const int64_t position = gvq_position(tiles.code_bits, place % kGvqPacket);
      for (int64_t r = 0; r < strips[s].rows; ++r) {
        const uint8_t* packet = tiles.codes + g * tiles.column_group_bytes + r * tiles.row_bytes +
                                place / kGvqPacket * packet_bytes;
        codes[(i / 4 * kInt8Rows + first + r) * 4 + i % 4] =
            table[load_gvq_code(packet, tiles.code_bits, position)];
      }
    }
  }
}

void decode_scales(const GvqLookupTiles& tiles, int64_t rows, int64_t blocks, float* scales,
                   int64_t stride) {
  for (int64_t g = 0; g < tiles.column_groups; ++g) {
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* codes =
          tiles.block_scales + r * tiles.scale_row_bytes + g * tiles.scale_column_group_bytes;
      for (int64_t b = 0; b < blocks; ++b) {
        scales[r * stride + g * blocks + b] =
            tiles.scale_values[g * 16 + (codes[b / 2] >> (b % 2 * 4) & 15)] * tiles.scales[g];
      }
    }
  }
}

}  // namespace

void fill_scalar(GvqLookupKernels& kernels) { kernels = {8, multiply, decode, decode_scales}; }

}  // namespace bitsmith
