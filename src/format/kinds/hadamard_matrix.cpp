#include "format/kinds/hadamard_matrix.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace bitsmith {
namespace {

constexpr std::array<int64_t, 4> kFactors = {12, 20, 28, 36};
constexpr int64_t kMostFactor = 36;

int64_t largest_power_of_two(int64_t n) { return n & -n; }

// x(a) for a = 0 .. q - 1.
std::vector<float> quadratic_characters(int64_t q) {
  std::vector<float> x(static_cast<size_t>(q), -1.0f);
  for (int64_t a = 1; a < q; ++a) x[static_cast<size_t>(a * a % q)] = 1;
  x[0] = 0;
  return x;
}

// Of size q + 1, q = 3 modulo 4. Rows of Paley's first matrix in an order that makes it symmetric.
std::vector<float> paley_first(int64_t q) {
  const std::vector<float> x = quadratic_characters(q);
  const int64_t m = q + 1;
  std::vector<float> h(static_cast<size_t>(m * m), 1.0f);
  for (int64_t i = 0; i < q; ++i) {
    for (int64_t j = 0; j < q; ++j) {
      const int64_t sum = (i + j) % q;
      h[static_cast<size_t>((i + 1) * m + j + 1)] = sum == 0 ? -1.0f : x[static_cast<size_t>(sum)];
    }
  }
  return h;
}

// Of size 2 (q + 1), q = 1 modulo 4.
std::vector<float> paley_second(int64_t q) {
  const std::vector<float> x = quadratic_characters(q);
  const int64_t m = 2 * (q + 1);
  const auto conference = [&](int64_t i, int64_t j) {
    if (i == j) return 0.0f;
    if (i == 0 || j == 0) return 1.0f;
    return x[static_cast<size_t>((i - j + q) % q)];
  };
  std::vector<float> h;
  for (int64_t row = 0; row < m; ++row) {
    for (int64_t column = 0; column < m; ++column) {
      const int64_t i = row / 2, j = column / 2, bits = 2 * (row % 2) + column % 2;
      if (i == j)
        h.push_back(bits == 0 ? 1.0f : -1.0f);
      else
        h.push_back(bits == 3 ? -conference(i, j) : conference(i, j));
    }
  }
  return h;
}

// Rows a of `width` neighbors at x + a stride, a < m: each becomes the sum of all by H's signs, in
// their order.
void multiply_rows(const float* h, int64_t m, float* x, int64_t stride, int64_t width) {
  constexpr int64_t kTile = 16;
  float tile[kMostFactor * kTile];
  for (int64_t begin = 0; begin < width; begin += kTile) {
    const int64_t count = std::min(kTile, width - begin);
    for (int64_t a = 0; a < m; ++a) {
      std::copy_n(x + a * stride + begin, count, tile + a * kTile);
      std::fill(tile + a * kTile + count, tile + (a + 1) * kTile, 0.0f);
    }
    for (int64_t a = 0; a < m; ++a) {
      float sum[kTile] = {};
      for (int64_t b = 0; b < m; ++b) {
        const float sign = h[a * m + b];
        for (int64_t i = 0; i < kTile; ++i) sum[i] += sign * tile[b * kTile + i];
      }
      std::copy_n(sum, count, x + a * stride + begin);
    }
  }
}

}  // namespace

int64_t hadamard_factor(int64_t size) {
  for (const int64_t m : kFactors) {
    if (size % m == 0 && size / m == largest_power_of_two(size / m)) return m;
  }
  return 1;
}

bool is_hadamard_size(int64_t n) {
  return n >= 2 && (n == largest_power_of_two(n) || hadamard_factor(n) > 1);
}

int64_t largest_hadamard_size(int64_t n, int64_t most) {
  int64_t largest = 1;
  const auto try_factor = [&](int64_t m) {
    if (n % m != 0 || m > most) return;
    int64_t size = m;
    while (2 * size <= most && n % (2 * size) == 0) size *= 2;
    largest = std::max(largest, size);
  };
  try_factor(1);
  for (const int64_t m : kFactors) try_factor(m);
  return largest;
}

std::span<const float> hadamard_matrix(int64_t m) {
  static const std::array<std::vector<float>, 4> matrices = {paley_first(11), paley_first(19),
                                                             paley_second(13), paley_second(17)};
  const auto* place = std::ranges::find(kFactors, m);
  BITSMITH_CHECK(place != kFactors.end());
  return matrices[static_cast<size_t>(place - kFactors.begin())];
}

void hadamard_along_rows(float* x, int64_t rows, int64_t n, int64_t block) {
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(block)));
  const int64_t m = hadamard_factor(block), power = block / m;
  const float* h = m > 1 ? hadamard_matrix(m).data() : nullptr;
  for (float* b = x; b < x + rows * n; b += block) {
    for (int64_t half = 1; half < power; half *= 2) {
      for (int64_t pair = 0; pair < block; pair += 2 * half) {
        for (int64_t i = pair; i < pair + half; ++i) {
          const float sum = b[i] + b[i + half], difference = b[i] - b[i + half];
          b[i] = sum;
          b[i + half] = difference;
        }
      }
    }
    if (m > 1) multiply_rows(h, m, b, power, power);
    for (int64_t i = 0; i < block; ++i) b[i] *= scale;
  }
}

void hadamard_down_columns(float* x, int64_t block, int64_t columns) {
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(block)));
  const int64_t m = hadamard_factor(block), power = block / m;
  for (int64_t half = 1; half < power; half *= 2) {
    for (int64_t row = 0; row < block; ++row) {
      if (((row % power) & half) != 0) continue;
      float *a = x + row * columns, *b = a + half * columns;
      for (int64_t i = 0; i < columns; ++i) {
        const float sum = a[i] + b[i], difference = a[i] - b[i];
        a[i] = sum;
        b[i] = difference;
      }
    }
  }
  // The rows of one place in each run of `power` neighbors; runs together are one wide row.
  if (m > 1) multiply_rows(hadamard_matrix(m).data(), m, x, power * columns, power * columns);
  for (int64_t i = 0; i < block * columns; ++i) x[i] *= scale;
}

}  // namespace bitsmith
