// The kernel over an instruction set's registers; included once by each set's file, everything in
// an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include "kernels/uniform_gemv.h"

namespace bitsmith {
namespace {

constexpr int kVectors = 8;  // of 16 rows x 4 inputs in a unit

// Of 32 codes of an input from `first` on: sums over chunks from those of four codes each.
inline void store_chunk_sums(const int32_t* fours, int64_t chunk, int64_t first, int32_t* sums) {
  for (int64_t i = 0; i < 8; i += chunk / 4) {
    int32_t sum = 0;
    for (int64_t k = i; k < i + chunk / 4; ++k) sum += fours[k];
    sums[(first + 4 * i) / chunk] = sum;
  }
}

// I: the registers, for kRows of a bundle's rows; Words are a 32-bit lane a row (codes: four of a
// byte each), Floats a number a row.

// The codes of vector V of a unit of B-bit codes.
template <typename I, int B, int V>
typename I::Words load_codes(const uint8_t* unit) {
  if constexpr (B == 8) {
    return I::load_field(unit + V * 64);
  } else {
    auto codes = I::broadcast(0);
    if constexpr (B & 4) {
      codes = I::template take_bits<V % 2 * 4, 4>(I::load_field(unit + V / 2 * 64));
    }
    if constexpr (B & 2) {
      const auto two =
          I::template take_bits<V % 4 * 2, 2>(I::load_field(unit + ((B & 4) + V / 4) * 64));
      codes = I::either(codes, I::template shift_left<(B & 4)>(two));
    }
    if constexpr (B & 1) {
      const auto one = I::template take_bits<V, 1>(I::load_field(unit + (B & 6) * 64));
      codes = I::either(codes, I::template shift_left<(B & 6)>(one));
    }
    return codes;
  }
}

template <typename I>
class UniformKernel {
 public:
  static void gemv(const UniformBundles& w, int64_t first, int64_t count, const QuantizedInput& x,
                   float* y) {
    constexpr Gemv kGemv[9] = {nullptr,      gemv_bits<1>, gemv_bits<2>, gemv_bits<3>, gemv_bits<4>,
                               gemv_bits<5>, gemv_bits<6>, gemv_bits<7>, gemv_bits<8>};
    kGemv[w.nbits](w, first, count, x, y);
  }
  static void decode_bundle(const UniformBundles& w, int64_t bundle, float* panel, int64_t stride) {
    constexpr DecodeBundle kDecodeBundle[9] = {nullptr,        decode_bits<1>, decode_bits<2>,
                                               decode_bits<3>, decode_bits<4>, decode_bits<5>,
                                               decode_bits<6>, decode_bits<7>, decode_bits<8>};
    kDecodeBundle[w.nbits](w, bundle, panel, stride);
  }
  static void decode_int8(const UniformBundles& w, int64_t bundle, int64_t first,
                          const Int8Panel& panel, int64_t row) {
    constexpr DecodeInt8 kDecodeInt8[9] = {nullptr,      int8_bits<1>, int8_bits<2>,
                                           int8_bits<3>, int8_bits<4>, int8_bits<5>,
                                           int8_bits<6>, int8_bits<7>, int8_bits<8>};
    kDecodeInt8[w.nbits](w, bundle, first, panel, row);
  }

 private:
  using Gemv = void (*)(const UniformBundles&, int64_t, int64_t, const QuantizedInput&, float*);
  using DecodeBundle = void (*)(const UniformBundles&, int64_t, float*, int64_t);
  using DecodeInt8 = void (*)(const UniformBundles&, int64_t, int64_t, const Int8Panel&, int64_t);
  using Words = typename I::Words;
  using Floats = typename I::Floats;

  // Scales and zero points of rows [first_row, first_row + kRows) of a bundle, for the group that
  // holds the present input.
  struct Groups {
    const UniformBundles& w;
    int64_t next, boundary;  // index of the next group's values; first input of that group
    Floats scales = I::zeros();
    Words zeros;

    // Before input `first`, which has a group.
    Groups(const UniformBundles& bundles, int64_t bundle, int64_t first_row, int64_t first = 0)
        : w(bundles),
          next((bundle * bundles.groups + first / bundles.group_size) * kUniformRows + first_row),
          boundary(first / bundles.group_size * bundles.group_size),
          zeros(I::broadcast(bundles.zero)) {}

    void advance_to(int64_t input) {
      if (input < boundary) return;
      scales = I::load_fp16(w.scales + next);
      if (w.zeros) zeros = I::load_bytes(w.zeros + next);
      next += kUniformRows;
      boundary += w.group_size;
      // What fills the last unit has no group; its codes are zero.
      if (boundary >= w.in_features) boundary = INT64_MAX;
    }
  };

  // The codes of a bundle's rows from first_row on.
  template <int B>
  static const uint8_t* first_unit(const UniformBundles& w, int64_t bundle, int64_t first_row) {
    return w.codes + bundle * w.units * B * kUniformField + first_row * 4;
  }

  // The chunks of a unit that begin at vector V; each is N vectors of one group.
  template <int B, int N, int V = 0>
  static Floats add_chunks(const uint8_t* unit, int64_t input, const QuantizedInput& x,
                           Groups& groups, Floats sum) {
    if constexpr (V == kVectors) {
      return sum;
    } else {
      groups.advance_to(input + 4 * V);
      const Words chunk_sum = I::broadcast(x.sums[(input + 4 * V) / (4 * N)]);
      const Words zeros = I::subtract(groups.zeros, I::broadcast(I::template kOffset<B>));
      const Words dot = I::subtract(I::template dot<B, V, N>(unit, x.codes + input),
                                    I::multiply(zeros, chunk_sum));
      const Floats scales = groups.scales * I::broadcast(x.scales[input / kUniformUnit]);
      sum = I::multiply_add(I::to_floats(dot), scales, sum);
      return add_chunks<B, N, V + N>(unit, input, x, groups, sum);
    }
  }

  template <int B, int N>
  static void gemv_chunks(const UniformBundles& w, int64_t first, int64_t count,
                          const QuantizedInput& x, float* y) {
    for (int64_t bundle = first; bundle < first + count; ++bundle, y += kUniformRows) {
      for (int64_t row = 0; row < kUniformRows; row += I::kRows) {
        Groups groups(w, bundle, row);
        const uint8_t* unit = first_unit<B>(w, bundle, row);
        Floats sum = I::zeros();
        for (int64_t u = 0; u < w.units; ++u, unit += B * kUniformField) {
          prefetch<B>(unit);
          sum = add_chunks<B, N>(unit, u * kUniformUnit, x, groups, sum);
        }
        I::store(y + row, sum);
      }
    }
  }

  // Codes that are needed some hundred cycles later.
  template <int B>
  static void prefetch(const uint8_t* unit) {
    constexpr int64_t kAhead = 1024;
    for (int k = 0; k < B; ++k) {
      __builtin_prefetch(unit + kAhead + k * 64);
    }
  }

  template <int B>
  static void gemv_bits(const UniformBundles& w, int64_t first, int64_t count,
                        const QuantizedInput& x, float* y) {
    switch (w.chunk) {
      case 32:
        return gemv_chunks<B, 8>(w, first, count, x, y);
      case 16:
        return gemv_chunks<B, 4>(w, first, count, x, y);
      case 8:
        return gemv_chunks<B, 2>(w, first, count, x, y);
      default:
        return gemv_chunks<B, 1>(w, first, count, x, y);
    }
  }

  // Four inputs from vector V on of a unit.
  template <int B, int V = 0>
  static void decode_vectors(const uint8_t* unit, int64_t input, Groups& groups, float* panel,
                             int64_t stride) {
    if constexpr (V < kVectors) {
      Words codes = load_codes<I, B, V>(unit);
      for (int64_t i = input + 4 * V; i < input + 4 * V + 4 && i < groups.w.in_features; ++i) {
        groups.advance_to(i);
        const Floats level = I::to_floats(I::subtract(I::low_bytes(codes), groups.zeros));
        I::store(panel + i * stride, level * groups.scales);
        codes = I::next_bytes(codes);
      }
      decode_vectors<B, V + 1>(unit, input, groups, panel, stride);
    }
  }

  template <int B>
  static void decode_bits(const UniformBundles& w, int64_t bundle, float* panel, int64_t stride) {
    for (int64_t row = 0; row < kUniformRows; row += I::kRows) {
      Groups groups(w, bundle, row);
      const uint8_t* unit = first_unit<B>(w, bundle, row);
      for (int64_t u = 0; u < w.units; ++u, unit += B * kUniformField) {
        decode_vectors<B>(unit, u * kUniformUnit, groups, panel + row, stride);
      }
    }
  }

  // The codes of N vectors from vector V on of a unit, less their zero points, in an int8 panel.
  template <int B, int V, int N>
  static void store_levels(const uint8_t* unit, Words zeros, int8_t* codes) {
    if constexpr (N > 0) {
      const Words levels = I::subtract_bytes(load_codes<I, B, V>(unit), zeros);
      I::store(reinterpret_cast<int32_t*>(codes + V * 4 * kInt8Rows), levels);
      store_levels<B, V + 1, N - 1>(unit, zeros, codes);
    }
  }

  // The chunks of a unit that begin at vector V, as in add_chunks().
  template <int B, int N, int V = 0>
  static void store_chunks(const uint8_t* unit, int64_t input, Groups& groups, int8_t* codes,
                           float* scales) {
    if constexpr (V < kVectors) {
      groups.advance_to(input + 4 * V);
      // Of each row in all four bytes.
      const Words zeros = I::multiply(groups.zeros, I::broadcast(0x01010101));
      store_levels<B, V, N>(unit, zeros, codes);
      I::store(scales + V / N * kInt8Rows, groups.scales);
      store_chunks<B, N, V + N>(unit, input, groups, codes, scales);
    }
  }

  template <int B, int N>
  static void int8_chunks(const UniformBundles& w, int64_t bundle, int64_t first,
                          const Int8Panel& panel, int64_t panel_row) {
    for (int64_t row = 0; row < kUniformRows; row += I::kRows) {
      Groups groups(w, bundle, row, first);
      const uint8_t* unit =
          first_unit<B>(w, bundle, row) + first / kUniformUnit * B * kUniformField;
      int8_t* codes = panel.codes + 4 * (panel_row + row);
      float* scales = panel.scales + panel_row + row;
      for (int64_t i = first; i < first + panel.inputs; i += kUniformUnit) {
        store_chunks<B, N>(unit, i, groups, codes, scales);
        unit += B * kUniformField;
        codes += kUniformUnit * kInt8Rows;
        scales += kVectors / N * kInt8Rows;
      }
    }
  }

  template <int B>
  static void int8_bits(const UniformBundles& w, int64_t bundle, int64_t first,
                        const Int8Panel& panel, int64_t row) {
    switch (w.chunk) {
      case 32:
        return int8_chunks<B, 8>(w, bundle, first, panel, row);
      case 16:
        return int8_chunks<B, 4>(w, bundle, first, panel, row);
      case 8:
        return int8_chunks<B, 2>(w, bundle, first, panel, row);
      default:
        return int8_chunks<B, 1>(w, bundle, first, panel, row);
    }
  }
};

}  // namespace
}  // namespace bitsmith
