// The kernels over an instruction set's registers I; included once by each set's file, everything
// in an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include <cstdint>

#include "kernels/code_search.h"

namespace bitsmith {
namespace {

constexpr float kInfinity = __builtin_inff();

// Rows and vectors of codes that are treated at a time: as many as the registers hold.
constexpr int kRowTile = 4;
template <typename I>
constexpr int kVectorTile = I::kRegisters / 8;

// lowest = value, at = index, in the lanes where value is less.
template <typename I>
inline void keep_lower(typename I::Floats value, typename I::Words index,
                       typename I::Floats& lowest, typename I::Words& at) {
  const auto lower = I::less(value, lowest);
  lowest = I::select(lower, value, lowest);
  at = I::select(lower, index, at);
}

// acc[r][c] = base - 2 linear . columns for kRows rows and kVectors vectors of codes from `k` on.
template <typename I, int kRows, int kVectors>
inline void cost_tile(const float* base, const float* columns, const float* linear, int64_t dim,
                      int64_t padded, int64_t k, typename I::Floats (&acc)[kRows][kVectors]) {
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kVectors; ++c) acc[r][c] = I::load(base + k + c * I::kLanes);
  }
  for (int64_t d = 0; d < dim; ++d) {
    typename I::Floats column[kVectors];
    for (int c = 0; c < kVectors; ++c) {
      column[c] = I::load(columns + d * padded + k + c * I::kLanes);
    }
    for (int r = 0; r < kRows; ++r) {
      const auto x = I::broadcast(-2.0f * linear[r * dim + d]);
      for (int c = 0; c < kVectors; ++c) acc[r][c] = I::multiply_add(x, column[c], acc[r][c]);
    }
  }
}

template <typename I, int kRows, int kVectors>
void costs_rows(const float* base, const float* columns, const float* linear, int64_t dim,
                int64_t padded, float* costs) {
  for (int64_t k = 0; k < padded; k += kVectors * I::kLanes) {
    typename I::Floats acc[kRows][kVectors];
    cost_tile<I>(base, columns, linear, dim, padded, k, acc);
    for (int r = 0; r < kRows; ++r) {
      for (int c = 0; c < kVectors; ++c)
        I::store(costs + r * padded + k + c * I::kLanes, acc[r][c]);
    }
  }
}

template <typename I, int kRows, int kVectors>
void nearest_rows(const float* base, const float* columns, const float* linear, int64_t dim,
                  int64_t padded, int32_t* best) {
  typename I::Floats lowest[kRows];
  typename I::Words at[kRows];
  for (int r = 0; r < kRows; ++r) {
    lowest[r] = I::broadcast(kInfinity);
    at[r] = I::lane_index();
  }
  typename I::Words index = I::lane_index();
  for (int64_t k = 0; k < padded; k += kVectors * I::kLanes) {
    typename I::Floats acc[kRows][kVectors];
    cost_tile<I>(base, columns, linear, dim, padded, k, acc);
    for (int c = 0; c < kVectors; ++c) {
      for (int r = 0; r < kRows; ++r) keep_lower<I>(acc[r][c], index, lowest[r], at[r]);
      index = I::add(index, I::broadcast(int32_t{I::kLanes}));
    }
  }
  for (int r = 0; r < kRows; ++r) {
    float values[I::kLanes];
    int32_t indices[I::kLanes];
    I::store(values, lowest[r]);
    I::store(indices, at[r]);
    int lane = 0;
    for (int i = 1; i < I::kLanes; ++i) {
      const bool lower = values[i] < values[lane];
      const bool earlier = values[i] == values[lane] && indices[i] < indices[lane];
      if (lower || earlier) lane = i;
    }
    best[r] = indices[lane];
  }
}

// One add and one minimum for a vector of pairs; cross is read once for kRows rows.
template <typename I, int kRows, int kVectors>
void pair_rows(const float* first, const float* second, const float* cross, int64_t count0,
               int64_t padded0, int64_t padded1, int32_t* best) {
  float lowest[kRows];
  for (int r = 0; r < kRows; ++r) {
    lowest[r] = kInfinity;
    best[r] = 0;
  }
  for (int64_t k1 = 0; k1 < padded1; k1 += kVectors * I::kLanes) {
    typename I::Floats acc[kRows][kVectors];
    for (int r = 0; r < kRows; ++r) {
      for (int c = 0; c < kVectors; ++c) acc[r][c] = I::broadcast(kInfinity);
    }
    const float* row = cross + k1;
    for (int64_t k0 = 0; k0 < count0; ++k0, row += padded1) {
      typename I::Floats x[kVectors];
      for (int c = 0; c < kVectors; ++c) x[c] = I::load(row + c * I::kLanes);
      for (int r = 0; r < kRows; ++r) {
        const auto own = I::broadcast(first[r * padded0 + k0]);
        for (int c = 0; c < kVectors; ++c) acc[r][c] = I::min(acc[r][c], own + x[c]);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      float totals[kVectors * I::kLanes];
      typename I::Floats low = I::broadcast(kInfinity);
      for (int c = 0; c < kVectors; ++c) {
        const auto total = acc[r][c] + I::load(second + r * padded1 + k1 + c * I::kLanes);
        I::store(totals + c * I::kLanes, total);
        low = I::min(low, total);
      }
      const float value = I::min_lane(low);
      if (!(value < lowest[r])) continue;
      lowest[r] = value;
      int64_t at = 0;
      while (totals[at] != value) ++at;
      best[r] = static_cast<int32_t>(k1 + at);
    }
  }
}

template <typename I>
void costs(const float* base, const float* columns, const float* linear, int64_t rows, int64_t dim,
           int64_t padded, float* out) {
  constexpr int kRows = kRowTile, kVectors = kVectorTile<I>;
  const bool wide = padded % (kVectors * I::kLanes) == 0;
  const auto many = wide ? costs_rows<I, kRows, kVectors> : costs_rows<I, kRows, 1>;
  const auto one = wide ? costs_rows<I, 1, kVectors> : costs_rows<I, 1, 1>;
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    many(base, columns, linear + r * dim, dim, padded, out + r * padded);
  }
  for (; r < rows; ++r) one(base, columns, linear + r * dim, dim, padded, out + r * padded);
}

// A row a lane, code after code: with few codes a search along them is mostly its end. kVectors
// vectors of rows at a time, since each code waits for the one before.
template <typename I, int kDim, int kVectors>
void nearest_of_few_rows(const float* base, const float* columns, const float* linear,
                         int64_t padded, int32_t* best) {
  typename I::Floats x[kVectors][kDim], lowest[kVectors];
  typename I::Words at[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    for (int d = 0; d < kDim; ++d) {
      float lanes[I::kLanes];
      for (int i = 0; i < I::kLanes; ++i) {
        lanes[i] = -2.0f * linear[(v * I::kLanes + i) * kDim + d];
      }
      x[v][d] = I::load(lanes);
    }
    lowest[v] = I::broadcast(kInfinity);
    at[v] = I::broadcast(int32_t{0});
  }
  for (int64_t k = 0; k < padded; ++k) {
    const auto index = I::broadcast(static_cast<int32_t>(k));
    for (int v = 0; v < kVectors; ++v) {
      auto cost = I::broadcast(base[k]);
      for (int d = 0; d < kDim; ++d) {
        cost = I::multiply_add(x[v][d], I::broadcast(columns[d * padded + k]), cost);
      }
      keep_lower<I>(cost, index, lowest[v], at[v]);
    }
  }
  for (int v = 0; v < kVectors; ++v) I::store(best + v * I::kLanes, at[v]);
}

template <typename I, int kDim>
void nearest_of_few(const float* base, const float* columns, const float* linear, int64_t rows,
                    int64_t padded, int32_t* best) {
  constexpr int kVectors = 2, kRows = kVectors * I::kLanes;
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    nearest_of_few_rows<I, kDim, kVectors>(base, columns, linear + r * kDim, padded, best + r);
  }
  for (; r < rows; r += I::kLanes) {
    const int64_t used = rows - r < I::kLanes ? rows - r : I::kLanes;
    float padded_rows[I::kLanes * kDim] = {};
    int32_t found[I::kLanes];
    for (int64_t i = 0; i < used * kDim; ++i) padded_rows[i] = linear[r * kDim + i];
    nearest_of_few_rows<I, kDim, 1>(base, columns, padded_rows, padded, found);
    for (int64_t i = 0; i < used; ++i) best[r + i] = found[i];
  }
}

template <typename I>
void nearest(const float* base, const float* columns, const float* linear, int64_t rows,
             int64_t dim, int64_t padded, int32_t* best) {
  constexpr int64_t kFewCodes = 64;
  if (padded <= kFewCodes) {
    if (dim == 1) return nearest_of_few<I, 1>(base, columns, linear, rows, padded, best);
    if (dim == 2) return nearest_of_few<I, 2>(base, columns, linear, rows, padded, best);
    if (dim == 4) return nearest_of_few<I, 4>(base, columns, linear, rows, padded, best);
  }
  constexpr int kRows = kRowTile, kVectors = kVectorTile<I>;
  const bool wide = padded % (kVectors * I::kLanes) == 0;
  const auto many = wide ? nearest_rows<I, kRows, kVectors> : nearest_rows<I, kRows, 1>;
  const auto one = wide ? nearest_rows<I, 1, kVectors> : nearest_rows<I, 1, 1>;
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    many(base, columns, linear + r * dim, dim, padded, best + r);
  }
  for (; r < rows; ++r) one(base, columns, linear + r * dim, dim, padded, best + r);
}

template <typename I>
void nearest_pair(const float* first, const float* second, const float* cross, int64_t rows,
                  int64_t count0, int64_t padded0, int64_t padded1, int32_t* best) {
  constexpr int kRows = kRowTile, kVectors = kVectorTile<I>;
  const bool wide = padded1 % (kVectors * I::kLanes) == 0;
  const auto many = wide ? pair_rows<I, kRows, kVectors> : pair_rows<I, kRows, 1>;
  const auto one = wide ? pair_rows<I, 1, kVectors> : pair_rows<I, 1, 1>;
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    many(first + r * padded0, second + r * padded1, cross, count0, padded0, padded1, best + r);
  }
  for (; r < rows; ++r) {
    one(first + r * padded0, second + r * padded1, cross, count0, padded0, padded1, best + r);
  }
}

template <typename I>
void subtract_product(const float* x, const float* matrix, int64_t dim, int64_t stride,
                      int64_t count, float* y) {
  int64_t i = 0;
  for (; i + I::kLanes <= count; i += I::kLanes) {
    typename I::Floats acc = I::load(y + i);
    for (int64_t d = 0; d < dim; ++d) {
      acc = I::multiply_add(I::broadcast(-x[d]), I::load(matrix + d * stride + i), acc);
    }
    I::store(y + i, acc);
  }
  for (; i < count; ++i) {
    float acc = y[i];
    for (int64_t d = 0; d < dim; ++d) acc -= x[d] * matrix[d * stride + i];
    y[i] = acc;
  }
}

template <typename I>
SearchKernels make_code_search() {
  return {costs<I>, nearest<I>, nearest_pair<I>, subtract_product<I>};
}

}  // namespace
}  // namespace bitsmith
