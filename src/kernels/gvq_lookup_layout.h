// One code inside the layout of gvq_lookup.h, for packing and for the scalar kernel.
#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/gvq_lookup.h"

namespace bitsmith {

inline int64_t gvq_place(int code_bits, int64_t position) {
  const bool pairs = code_bits == 4 || code_bits == 6;
  return pairs ? position % 32 * 2 + position / 32 : position;
}
inline int64_t gvq_position(int code_bits, int64_t place) {
  const bool pairs = code_bits == 4 || code_bits == 6;
  return pairs ? place % 2 * 32 + place / 2 : place;
}

// The input at place i of an int8 panel, in which four codes of neighboring positions lie together,
// a coordinate at a time: the codes of a run of 4, or with pairs of 8, are in an order of their
// own.
inline int64_t gvq_panel_input(int code_bits, int64_t vector_size, int64_t i) {
  const bool pairs = code_bits == 4 || code_bits == 6;
  const int64_t run = (pairs ? 8 : 4) * vector_size, four = i % run / 4;
  const int64_t half = four / vector_size, coordinate = four % vector_size;
  const int64_t code = pairs ? i % 4 * 2 + half : i % 4;
  return i / run * run + code * vector_size + coordinate;
}

// Bytes of a packet of `count` codes.
inline int64_t gvq_packet_bytes(int code_bits, int64_t count) {
  const int64_t pairs = (count + 1) / 2;
  switch (code_bits) {
    case 2:
      return std::min<int64_t>(count, 16);
    case 4:
      return pairs;
    case 6:
      return 16 + pairs;
    default:
      return count;
  }
}

// Centroids of a coordinate in GvqLookupTiles::tables.
inline int64_t gvq_table_entries(int code_bits) {
  return code_bits <= 4 ? 16 : int64_t{1} << code_bits;
}

// Calls f(byte, shift, bits, code_shift): bits [code_shift, code_shift + bits) of the code at a
// position are bits [shift, ...) of packet[byte].
template <typename F>
void for_each_gvq_field(int code_bits, int64_t position, const F& f) {
  const int64_t quarter = position / 16, half = position / 32;
  if (code_bits == 8) return f(position, 0, 8, 0);
  if (code_bits == 2) return f(position % 16, static_cast<int>(2 * quarter), 2, 0);
  if (code_bits == 6) f(position % 16, static_cast<int>(2 * quarter), 2, 4);
  f(position % 32 + (code_bits == 6 ? 16 : 0), static_cast<int>(4 * half), 4, 0);
}

inline int load_gvq_code(const uint8_t* packet, int code_bits, int64_t position) {
  int code = 0;
  for_each_gvq_field(code_bits, position, [&](int64_t byte, int shift, int bits, int at) {
    code |= (packet[byte] >> shift & ((1 << bits) - 1)) << at;
  });
  return code;
}

// The 64 codes of a packet by their places.
inline void load_gvq_packet(const uint8_t* packet, int code_bits, uint8_t* codes) {
  const uint8_t* nibbles = code_bits == 6 ? packet + 16 : packet;
  for (int i = 0; i < 32; ++i) {
    if (code_bits == 8) {
      codes[i] = packet[i];
      codes[i + 32] = packet[i + 32];
    } else if (code_bits == 2) {
      codes[i] = packet[i % 16] >> (i / 16 * 2) & 3;
      codes[i + 32] = packet[i % 16] >> (i / 16 * 2 + 4) & 3;
    } else {
      codes[2 * i] = nibbles[i] & 15;
      codes[2 * i + 1] = nibbles[i] >> 4;
    }
  }
  for (int i = 0; code_bits == 6 && i < 32; ++i) {
    const int even = packet[i % 16] >> (i / 16 * 2) & 3;
    const int odd = packet[i % 16] >> (i / 16 * 2 + 4) & 3;
    codes[2 * i] = static_cast<uint8_t>(codes[2 * i] | even << 4);
    codes[2 * i + 1] = static_cast<uint8_t>(codes[2 * i + 1] | odd << 4);
  }
}

// The packet's bits must be zero before.
inline void store_gvq_code(uint8_t* packet, int code_bits, int64_t position, int code) {
  for_each_gvq_field(code_bits, position, [&](int64_t byte, int shift, int bits, int at) {
    const int field = code >> at & ((1 << bits) - 1);
    packet[byte] = static_cast<uint8_t>(packet[byte] | field << shift);
  });
}

}  // namespace bitsmith
