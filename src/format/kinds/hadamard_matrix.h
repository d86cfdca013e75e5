// Hadamard matrices: square, of +1 and -1, H H^T = n I. Sizes 2^k by Sylvester's doubling, and m
// 2^k for m = 12, 20, 28, 36 as the Kronecker product of one of size m with Sylvester's. All are
// symmetric: H / sqrt(n) is its own inverse.
#pragma once
#include <cstdint>
#include <span>

namespace bitsmith {

// Whether there is one here of this size, from 2 on.
bool is_hadamard_size(int64_t n);
// The largest size up to `most` that divides n; 1 where n is odd. n > 0.
int64_t largest_hadamard_size(int64_t n, int64_t most);
// m of a size m 2^k: 1, 12, 20, 28 or 36.
int64_t hadamard_factor(int64_t size);

// The matrix of size m, row by row, m 12, 20, 28 or 36, after Paley (1933), with x(a) = 1 for a
// square a modulo the prime q, -1 for another a, 0 for 0. For q = m - 1 = 11, 19: ones around the
// core f(i + j), f(0) = -1, else f = x. For q = m / 2 - 1 = 13, 17: C (x) [1 1; 1 -1] + I (x)
// [1 -1; -1 -1], C the conference matrix of zero and ones around x(i - j).
std::span<const float> hadamard_matrix(int64_t m);

// In place, H / sqrt(block). The same values for any split of the other dimension. Along rows: x
// [rows, n], blocks of neighbors in a row.
void hadamard_along_rows(float* x, int64_t rows, int64_t n, int64_t block);
// Down columns: x [block, columns], one block.
void hadamard_down_columns(float* x, int64_t block, int64_t columns);

}  // namespace bitsmith
