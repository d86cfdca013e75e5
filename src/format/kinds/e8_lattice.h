// The lattice codebooks of QuIP# (Tseng et al. 2024, section 4.2 and appendix C): finite sets of
// points near the origin, of the lattice E8, which has the densest packing of balls in eight
// dimensions: vectors of eight whole numbers, or of eight halves of odd numbers, whose sum is even.
// Both are made from their definitions. Thread-safe.
#pragma once
#include <array>
#include <cstdint>
#include <span>

namespace bitsmith {

inline constexpr int64_t kE8Size = 8;  // coordinates of a point
using E8Vector = std::array<int8_t, kE8Size>;

// E8P: 2^16 points of E8 + 1/4, a point q of halves of odd numbers with an even sum, plus or minus
// 1/4 in every coordinate. Bits of a code, from the lowest:
//   0..7   the pattern |q|: the 227 patterns with |q|^2 <= 10, and 29 of those with |q|^2 = 12
//   8..14  signs of the first seven coordinates, 1 for minus. The last one follows, as the sum is
//          even: it is the parity of bits 7..14
//   15     0 for + 1/4, 1 for - 1/4
// Patterns are in two halves, bit 7: whether their own sum is odd, that is, whether an odd number
// of signs is minus; in each half by their norm, then lexicographically. The paper leaves open
// which 29 have the norm 12: these are the 21 and 8 that make the halves equal, spread evenly over
// the 168 of even and the 56 of odd sum in lexicographic order, so that no coordinate is favored.
//
// The patterns, twice |q|: 1, 3 or 5 in each coordinate.
const std::array<E8Vector, 256>& e8p_patterns();
// Four times the point of a code: odd numbers within +-11.
E8Vector e8p_point(uint16_t code);
// All points [2^16, 8].
std::span<const float> e8p_points();

// The codebook of one bit a weight for residuals: 256 points of E8. The origin, the 240 of norm 2
// (112 of whole numbers, 128 of halves, each lexicographically), and 15 of the 16 points with one
// coordinate of +-2, from the first coordinate on, + before -.
//
// Twice the points: within +-4.
const std::array<E8Vector, 256>& e8_short_vectors();
// The points [256, 8].
std::span<const float> e8_short_points();

}  // namespace bitsmith
