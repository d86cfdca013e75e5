#include "format/kinds/e8_lattice.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <vector>

#include "base/error.h"

namespace bitsmith {
namespace {

int e8_norm(const E8Vector& v) { return std::inner_product(v.begin(), v.end(), v.begin(), 0); }
int e8_sum(const E8Vector& v) { return std::accumulate(v.begin(), v.end(), 0); }

// All vectors of the given values, lexicographically.
template <size_t N>
std::vector<E8Vector> all_vectors(const std::array<int8_t, N>& values) {
  std::vector<E8Vector> vectors(1);
  for (size_t i = 0; i < kE8Size; ++i) {
    std::vector<E8Vector> longer;
    for (E8Vector v : vectors) {
      for (const int8_t value : values) {
        v[i] = value;
        longer.push_back(v);
      }
    }
    vectors.swap(longer);
  }
  return vectors;
}

std::array<E8Vector, 256> make_patterns() {
  constexpr size_t kHalf = 128;
  std::array<E8Vector, 256> patterns = {};
  for (const int odd : {0, 1}) {
    std::vector<E8Vector> own, spare;  // twice |q|: norms of four times as much
    for (const E8Vector& v : all_vectors<3>({1, 3, 5})) {
      if (e8_sum(v) / 2 % 2 != odd) continue;
      if (e8_norm(v) <= 4 * 10) own.push_back(v);
      if (e8_norm(v) == 4 * 12) spare.push_back(v);
    }
    std::ranges::stable_sort(own, {}, e8_norm);
    const size_t missing = kHalf - own.size();
    for (size_t i = 0; i < missing; ++i) own.push_back(spare[i * spare.size() / missing]);
    std::ranges::copy(own, patterns.begin() + static_cast<ptrdiff_t>(kHalf) * odd);
  }
  return patterns;
}

std::array<E8Vector, 256> make_short_vectors() {
  std::vector<E8Vector> found(1);  // the origin
  // Twice the points, with the norm 4 * 2 and a sum of which the half is even.
  const auto add = [&](const std::vector<E8Vector>& candidates) {
    for (const E8Vector& v : candidates) {
      if (e8_norm(v) == 4 * 2 && e8_sum(v) % 4 == 0) found.push_back(v);
    }
  };
  add(all_vectors<3>({-2, 0, 2}));
  add(all_vectors<2>({-1, 1}));
  for (size_t i = 0; i < kE8Size; ++i) {
    for (const int8_t value : {int8_t{4}, int8_t{-4}}) {
      E8Vector v = {};
      v[i] = value;
      found.push_back(v);
    }
  }
  std::array<E8Vector, 256> vectors = {};
  BITSMITH_CHECK(found.size() == vectors.size() + 1);
  std::copy_n(found.begin(), vectors.size(), vectors.begin());
  return vectors;
}

}  // namespace

const std::array<E8Vector, 256>& e8p_patterns() {
  static const std::array<E8Vector, 256> patterns = make_patterns();
  return patterns;
}

E8Vector e8p_point(uint16_t code) {
  const E8Vector& pattern = e8p_patterns()[code & 255];
  const int last = std::popcount(static_cast<unsigned>(code >> 7 & 255)) % 2;
  const int signs = (code >> 8 & 127) | last << 7;
  const int shift = code >> 15 != 0 ? -1 : 1;
  E8Vector point = {};
  for (size_t i = 0; i < kE8Size; ++i) {
    const int q = (signs >> i & 1) != 0 ? -pattern[i] : pattern[i];
    point[i] = static_cast<int8_t>(2 * q + shift);
  }
  return point;
}

std::span<const float> e8p_points() {
  static const std::vector<float> points = [] {
    std::vector<float> all;
    all.reserve(kE8Size << 16);
    for (int code = 0; code < 1 << 16; ++code) {
      for (const int8_t value : e8p_point(static_cast<uint16_t>(code))) {
        all.push_back(0.25f * static_cast<float>(value));
      }
    }
    return all;
  }();
  return points;
}

const std::array<E8Vector, 256>& e8_short_vectors() {
  static const std::array<E8Vector, 256> vectors = make_short_vectors();
  return vectors;
}

std::span<const float> e8_short_points() {
  static const std::vector<float> points = [] {
    std::vector<float> all;
    for (const E8Vector& v : e8_short_vectors()) {
      for (const int8_t value : v) all.push_back(0.5f * static_cast<float>(value));
    }
    return all;
  }();
  return points;
}

}  // namespace bitsmith
