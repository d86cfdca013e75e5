// The kernels over a vector type V of kLanes floats; included once by each instruction set's file,
// everything in an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include <cstdint>

#include "compressor/representation/search_kernels.h"

namespace bitsmith {
namespace {

constexpr float kInfinity = __builtin_inff();

// acc[r][c] = base - 2 linear . columns for kRows rows and kVectors vectors of codes from `k` on.
template <typename V, int kRows, int kVectors>
inline void cost_tile(const float* base, const float* columns, const float* linear, int64_t dim,
                      int64_t padded, int64_t k, V (&acc)[kRows][kVectors]) {
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kVectors; ++c) acc[r][c] = V::load(base + k + c * V::kLanes);
  }
  for (int64_t d = 0; d < dim; ++d) {
    V column[kVectors];
    for (int c = 0; c < kVectors; ++c) {
      column[c] = V::load(columns + d * padded + k + c * V::kLanes);
    }
    for (int r = 0; r < kRows; ++r) {
      const V x = V::broadcast(-2.0f * linear[r * dim + d]);
      for (int c = 0; c < kVectors; ++c) acc[r][c] = V::multiply_add(x, column[c], acc[r][c]);
    }
  }
}

template <typename V, int kRows, int kVectors>
void costs_rows(const float* base, const float* columns, const float* linear, int64_t dim,
                int64_t padded, float* costs) {
  for (int64_t k = 0; k < padded; k += kVectors * V::kLanes) {
    V acc[kRows][kVectors];
    cost_tile<V>(base, columns, linear, dim, padded, k, acc);
    for (int r = 0; r < kRows; ++r) {
      for (int c = 0; c < kVectors; ++c) acc[r][c].store(costs + r * padded + k + c * V::kLanes);
    }
  }
}

template <typename V, int kRows, int kVectors>
void nearest_rows(const float* base, const float* columns, const float* linear, int64_t dim,
                  int64_t padded, int32_t* best) {
  V lowest[kRows];
  typename V::Index at[kRows];
  for (int r = 0; r < kRows; ++r) {
    lowest[r] = V::broadcast(kInfinity);
    at[r] = V::first_index();
  }
  typename V::Index index = V::first_index();
  for (int64_t k = 0; k < padded; k += kVectors * V::kLanes) {
    V acc[kRows][kVectors];
    cost_tile<V>(base, columns, linear, dim, padded, k, acc);
    for (int c = 0; c < kVectors; ++c) {
      for (int r = 0; r < kRows; ++r) V::keep_lower(acc[r][c], index, lowest[r], at[r]);
      index = V::next_index(index);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    float values[V::kLanes];
    int32_t indices[V::kLanes];
    lowest[r].store(values);
    V::store_index(at[r], indices);
    int lane = 0;
    for (int i = 1; i < V::kLanes; ++i) {
      const bool lower = values[i] < values[lane];
      const bool earlier = values[i] == values[lane] && indices[i] < indices[lane];
      if (lower || earlier) lane = i;
    }
    best[r] = indices[lane];
  }
}

// One add and one minimum for a vector of pairs; cross is read once for kRows rows.
template <typename V, int kRows, int kVectors>
void pair_rows(const float* first, const float* second, const float* cross, int64_t count0,
               int64_t padded0, int64_t padded1, int32_t* best) {
  float lowest[kRows];
  for (int r = 0; r < kRows; ++r) {
    lowest[r] = kInfinity;
    best[r] = 0;
  }
  for (int64_t k1 = 0; k1 < padded1; k1 += kVectors * V::kLanes) {
    V acc[kRows][kVectors];
    for (int r = 0; r < kRows; ++r) {
      for (int c = 0; c < kVectors; ++c) acc[r][c] = V::broadcast(kInfinity);
    }
    const float* row = cross + k1;
    for (int64_t k0 = 0; k0 < count0; ++k0, row += padded1) {
      V x[kVectors];
      for (int c = 0; c < kVectors; ++c) x[c] = V::load(row + c * V::kLanes);
      for (int r = 0; r < kRows; ++r) {
        const V own = V::broadcast(first[r * padded0 + k0]);
        for (int c = 0; c < kVectors; ++c) acc[r][c] = V::minimum(acc[r][c], V::add(own, x[c]));
      }
    }
    for (int r = 0; r < kRows; ++r) {
      float totals[kVectors * V::kLanes];
      V low = V::broadcast(kInfinity);
      for (int c = 0; c < kVectors; ++c) {
        const V total = V::add(acc[r][c], V::load(second + r * padded1 + k1 + c * V::kLanes));
        total.store(totals + c * V::kLanes);
        low = V::minimum(low, total);
      }
      const float value = low.lowest_lane();
      if (!(value < lowest[r])) continue;
      lowest[r] = value;
      int64_t at = 0;
      while (totals[at] != value) ++at;
      best[r] = static_cast<int32_t>(k1 + at);
    }
  }
}

template <typename V>
constexpr int kRowTile = V::kLanes == 1 ? 1 : 4;

template <typename V>
void costs(const float* base, const float* columns, const float* linear, int64_t rows, int64_t dim,
           int64_t padded, float* out) {
  constexpr int kRows = kRowTile<V>, kVectors = V::kTile;
  const bool wide = padded % (kVectors * V::kLanes) == 0;
  const auto many = wide ? costs_rows<V, kRows, kVectors> : costs_rows<V, kRows, 1>;
  const auto one = wide ? costs_rows<V, 1, kVectors> : costs_rows<V, 1, 1>;
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    many(base, columns, linear + r * dim, dim, padded, out + r * padded);
  }
  for (; r < rows; ++r) one(base, columns, linear + r * dim, dim, padded, out + r * padded);
}

// A row a lane, code after code: with few codes a search along them is mostly its end. kVectors
// vectors of rows at a time, since each code waits for the one before.
template <typename V, int kDim, int kVectors>
void nearest_of_few_rows(const float* base, const float* columns, const float* linear,
                         int64_t padded, int32_t* best) {
  V x[kVectors][kDim], lowest[kVectors];
  typename V::Index at[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    for (int d = 0; d < kDim; ++d) {
      float lanes[V::kLanes];
      for (int i = 0; i < V::kLanes; ++i) {
        lanes[i] = -2.0f * linear[(v * V::kLanes + i) * kDim + d];
      }
      x[v][d] = V::load(lanes);
    }
    lowest[v] = V::broadcast(kInfinity);
    at[v] = V::same_index(0);
  }
  for (int64_t k = 0; k < padded; ++k) {
    const auto index = V::same_index(static_cast<int32_t>(k));
    for (int v = 0; v < kVectors; ++v) {
      V cost = V::broadcast(base[k]);
      for (int d = 0; d < kDim; ++d) {
        cost = V::multiply_add(x[v][d], V::broadcast(columns[d * padded + k]), cost);
      }
      V::keep_lower(cost, index, lowest[v], at[v]);
    }
  }
  for (int v = 0; v < kVectors; ++v) V::store_index(at[v], best + v * V::kLanes);
}

template <typename V, int kDim>
void nearest_of_few(const float* base, const float* columns, const float* linear, int64_t rows,
                    int64_t padded, int32_t* best) {
  constexpr int kVectors = V::kLanes == 1 ? 1 : 2, kRows = kVectors * V::kLanes;
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    nearest_of_few_rows<V, kDim, kVectors>(base, columns, linear + r * kDim, padded, best + r);
  }
  for (; r < rows; r += V::kLanes) {
    const int64_t used = rows - r < V::kLanes ? rows - r : V::kLanes;
    float padded_rows[V::kLanes * kDim] = {};
    int32_t found[V::kLanes];
    for (int64_t i = 0; i < used * kDim; ++i) padded_rows[i] = linear[r * kDim + i];
    nearest_of_few_rows<V, kDim, 1>(base, columns, padded_rows, padded, found);
    for (int64_t i = 0; i < used; ++i) best[r + i] = found[i];
  }
}

template <typename V>
void nearest(const float* base, const float* columns, const float* linear, int64_t rows,
             int64_t dim, int64_t padded, int32_t* best) {
  constexpr int64_t kFewCodes = 64;
  if (padded <= kFewCodes) {
    if (dim == 1) return nearest_of_few<V, 1>(base, columns, linear, rows, padded, best);
    if (dim == 2) return nearest_of_few<V, 2>(base, columns, linear, rows, padded, best);
    if (dim == 4) return nearest_of_few<V, 4>(base, columns, linear, rows, padded, best);
  }
  constexpr int kRows = kRowTile<V>, kVectors = V::kTile;
  const bool wide = padded % (kVectors * V::kLanes) == 0;
  const auto many = wide ? nearest_rows<V, kRows, kVectors> : nearest_rows<V, kRows, 1>;
  const auto one = wide ? nearest_rows<V, 1, kVectors> : nearest_rows<V, 1, 1>;
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    many(base, columns, linear + r * dim, dim, padded, best + r);
  }
  for (; r < rows; ++r) one(base, columns, linear + r * dim, dim, padded, best + r);
}

template <typename V>
void nearest_pair(const float* first, const float* second, const float* cross, int64_t rows,
                  int64_t count0, int64_t padded0, int64_t padded1, int32_t* best) {
  constexpr int kRows = kRowTile<V>, kVectors = V::kTile;
  const bool wide = padded1 % (kVectors * V::kLanes) == 0;
  const auto many = wide ? pair_rows<V, kRows, kVectors> : pair_rows<V, kRows, 1>;
  const auto one = wide ? pair_rows<V, 1, kVectors> : pair_rows<V, 1, 1>;
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    many(first + r * padded0, second + r * padded1, cross, count0, padded0, padded1, best + r);
  }
  for (; r < rows; ++r) {
    one(first + r * padded0, second + r * padded1, cross, count0, padded0, padded1, best + r);
  }
}

template <typename V>
void subtract_product(const float* x, const float* matrix, int64_t dim, int64_t stride,
                      int64_t count, float* y) {
  int64_t i = 0;
  for (; i + V::kLanes <= count; i += V::kLanes) {
    V acc = V::load(y + i);
    for (int64_t d = 0; d < dim; ++d) {
      acc = V::multiply_add(V::broadcast(-x[d]), V::load(matrix + d * stride + i), acc);
    }
    acc.store(y + i);
  }
  for (; i < count; ++i) {
    float acc = y[i];
    for (int64_t d = 0; d < dim; ++d) acc -= x[d] * matrix[d * stride + i];
    y[i] = acc;
  }
}

template <typename V>
constexpr SearchKernels make_kernels(const char* isa) {
  return {isa, costs<V>, nearest<V>, nearest_pair<V>, subtract_product<V>};
}

}  // namespace
}  // namespace bitsmith
