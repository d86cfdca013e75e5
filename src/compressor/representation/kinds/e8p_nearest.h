// The nearest point of E8P (format/kinds/e8_lattice.h) in the norm of a sub-Hessian, exactly,
// without looking at all 2^16.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "format/kinds/e8_lattice.h"
#include "kernels/kernel_table.h"

namespace bitsmith {

// Finds the point p with the least cost p^T B p - 2 linear^T p. For any z, and any diagonal D such
// that B - D is positive semi-definite,
//   p^T B p - 2 linear^T p >= p^T D p - 2 (linear - (B - D) z)^T p - z^T (B - D) z.
// The right side is separable: with a pattern and a shift given, each coordinate chooses its sign,
// and where their parity is wrong the one that costs least is turned. That bounds all points of a
// pattern. Of the patterns whose bound is below the best cost so far all signs are tried. D is the
// largest multiple of B's diagonal and z is near to B^-1 linear, where the bound is exact; with a
// diagonal B it is exact everywhere. Const calls may run at the same time.
class E8pNearest {
 public:
  // B [8, 8], symmetric positive semi-definite.
  void prepare(const float* sub_hessian);

  struct Found {
    int32_t code;
    float cost;
  };
  // Exact but for float32's rounding; the same for any number of threads. Of all points but that of
  // the code `without`.
  Found find(const SearchKernels& kernels, const float* linear, int32_t without = kNone) const;
  static constexpr int32_t kNone = -1;
  float cost(int32_t code, const float* linear) const;

 private:
  using Vector = std::array<float, kE8Size>;
  using Square = std::array<float, kE8Size * kE8Size>;

  struct Bounds;
  void bound_patterns(const float* linear, Bounds& bounds) const;
  Found best_signs(const SearchKernels& kernels, int64_t pattern, int64_t shift,
                   const float* linear, int32_t without) const;

  Vector diagonal_;                   // D
  Square rest_;                       // B - D
  Square inverse_;                    // about B^-1
  std::vector<float> pattern_norms_;  // [256]: q^T D q
  std::vector<float> norms_;          // [256 patterns, 2 shifts, 128 signs]: p^T B p
};

}  // namespace bitsmith
