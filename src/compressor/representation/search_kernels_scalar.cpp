// The reference: one lane.
#include "compressor/representation/search_kernels_impl.h"

namespace bitsmith {
namespace {

struct Lane {
  static constexpr int kLanes = 1, kTile = 1;
  using Index = int32_t;
  float v;

  static Lane load(const float* p) { return {*p}; }
  static Lane broadcast(float x) { return {x}; }
  static Lane add(Lane a, Lane b) { return {a.v + b.v}; }
  static Lane minimum(Lane a, Lane b) { return {a.v < b.v ? a.v : b.v}; }
  static Lane multiply_add(Lane a, Lane b, Lane c) { return {a.v * b.v + c.v}; }
  void store(float* p) const { *p = v; }
  float lowest_lane() const { return v; }
  static Index first_index() { return 0; }
  static Index next_index(Index i) { return i + 1; }
  static Index same_index(int32_t k) { return k; }
  static void store_index(Index i, int32_t* p) { *p = i; }
  static void keep_lower(Lane value, Index index, Lane& lowest, Index& at) {
    if (!(value.v < lowest.v)) return;
    lowest = value;
    at = index;
  }
};

}  // namespace

const SearchKernels* search_kernels_scalar() {
  static constexpr SearchKernels kernels = make_kernels<Lane>("scalar");
  return &kernels;
}

}  // namespace bitsmith
