// The kernel over an instruction set's registers; included once by each set's file, everything in
// an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include "kernels/int8_gemm.h"

namespace bitsmith {
namespace {

constexpr int64_t kFourBytes = 4 * kInt8Rows;  // of four inputs in a panel

// I: the registers, Words of a 32-bit lane for each of kLanes rows. A tile is kTokens tokens times
// two registers of rows: each weight is loaded once for all tokens of the tile, and the integer
// sums stay in registers for a chunk.
template <typename I>
class Int8Gemm {
 public:
  static void multiply(const Int8Panel& w, const Int8Inputs& x, int64_t tokens, float* sums) {
    // Tiles of nearly the same size: a tile of one token would wait for its own sums.
    const int64_t tiles = (tokens + I::kTokens - 1) / I::kTokens;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t first = tokens * tile / tiles, end = tokens * (tile + 1) / tiles;
      const Int8Inputs own = {x.codes + first * x.stride, x.scales + first * x.stride / kInt8Unit,
                              x.sums + first * x.stride / w.chunk, x.stride};
      for (int64_t row = 0; row < kInt8Rows; row += 2 * I::kLanes) {
        multiply_tokens<I::kTokens>(end - first, w, own, row, sums + first * kInt8Rows + row);
      }
    }
  }

  static void pack(const int8_t* w, int64_t rows, int64_t stride, int64_t inputs, int8_t* codes) {
    constexpr int64_t kFours = I::kLanes;  // of a register
    for (int64_t i = 0; i < inputs; i += 4 * kFours) {
      const int64_t fours = (inputs - i) / 4 < kFours ? (inputs - i) / 4 : kFours;
      for (int64_t row = 0; row < kInt8Rows; row += I::kLanes) {
        typename I::Floats square[kFours];
        for (int64_t r = 0; r < I::kLanes; ++r) {
          const auto* from = reinterpret_cast<const float*>(w + (row + r) * stride + i);
          square[r] = row + r < rows ? I::load_first(from, fours) : I::zeros();
        }
        int8_t* to = codes + i * kInt8Rows + 4 * row;
        if (fours == kFours) {
          I::transpose(square, reinterpret_cast<float*>(to), kInt8Rows);
        } else {
          alignas(64) float last[kFours * I::kLanes];
          I::transpose(square, last, I::kLanes);
          for (int64_t k = 0; k < fours; ++k)
            __builtin_memcpy(to + k * kFourBytes, last + k * I::kLanes, 4 * I::kLanes);
        }
      }
    }
  }

 private:
  // `tokens` <= T.
  template <int T>
  static void multiply_tokens(int64_t tokens, const Int8Panel& w, const Int8Inputs& x, int64_t row,
                              float* sums) {
    if constexpr (T > 1) {
      if (tokens < T) return multiply_tokens<T - 1>(tokens, w, x, row, sums);
    }
    multiply_tile<T>(w, x, row, sums);
  }

  template <int T>
  static void multiply_tile(const Int8Panel& w, const Int8Inputs& x, int64_t row, float* sums) {
    using Floats = typename I::Floats;
    using Words = typename I::Words;
    Floats sum[T][2];
    for (int t = 0; t < T; ++t) {
      sum[t][0] = I::load(sums + t * kInt8Rows);
      sum[t][1] = I::load(sums + t * kInt8Rows + I::kLanes);
    }
    const int8_t* codes = w.codes + 4 * row;
    const float* scales = w.scales + row;
    const int64_t units = x.stride / kInt8Unit, chunks = x.stride / w.chunk;  // of a token
    for (int64_t first = 0; first < w.inputs; first += w.chunk, scales += kInt8Rows) {
      Words dot[T][2];
      for (int t = 0; t < T; ++t) {
        dot[t][0] = dot[t][1] = I::start(x.sums[t * chunks + first / w.chunk]);
      }
      for (int64_t i = first; i < first + w.chunk; i += 4, codes += kFourBytes) {
        const auto low = I::load_weights(codes), high = I::load_weights(codes + 4 * I::kLanes);
        for (int t = 0; t < T; ++t) {
          int32_t four;
          __builtin_memcpy(&four, x.codes + t * x.stride + i, sizeof(four));
          const Words inputs = I::broadcast(four);
          dot[t][0] = I::add_products(dot[t][0], low, inputs);
          dot[t][1] = I::add_products(dot[t][1], high, inputs);
        }
      }
      const Floats low = I::load(scales), high = I::load(scales + I::kLanes);
      for (int t = 0; t < T; ++t) {
        const Floats input = I::broadcast(x.scales[t * units + first / kInt8Unit]);
        sum[t][0] = I::multiply_add(I::to_floats(dot[t][0]), low * input, sum[t][0]);
        sum[t][1] = I::multiply_add(I::to_floats(dot[t][1]), high * input, sum[t][1]);
      }
    }
    for (int t = 0; t < T; ++t) {
      I::store(sums + t * kInt8Rows, sum[t][0]);
      I::store(sums + t * kInt8Rows + I::kLanes, sum[t][1]);
    }
  }
};

}  // namespace
}  // namespace bitsmith
