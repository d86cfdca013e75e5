// The kernels over an instruction set's registers I; included once by each set's file, everything
// in an unnamed namespace so that no other file's copy is ever linked in its place.
#pragma once
#include "kernels/additive_gather.h"

namespace bitsmith {
namespace {

// Centroids are read a register at a time; what is read past the end of a centroid is masked away.
// The codebooks' memory is readable 16 bytes past its end.

// sum_m codebooks[m][codes[m * stride]], its values [i, i + kLanes). M and G are the number of
// codebooks and the group size where they are known at compile time, else 0.
template <typename I, int M, int G, typename Code>
typename I::Floats vector_sum(const AdditiveCodebooks& w, const Code* codes, int64_t stride,
                              int64_t i) {
  const int count = M > 0 ? M : w.num_codebooks;
  const int64_t size = G > 0 ? G : w.in_group_size, num_centroids = w.num_centroids;
  const uint16_t* centroids = w.centroids + i;
  auto sum = I::load_fp16(centroids + *codes * size);
  for (int m = 1; m < count; ++m) {
    sum += I::load_fp16(centroids + (m * num_centroids + codes[m * stride]) * size);
  }
  return sum;
}

// R rows at a time share the loads of x; the order of each row's sum is the same for every R.
// With kScaled x is multiplied by each row's own group scale first.
template <typename I, int R, int M, int G, bool kScaled, typename Code>
void multiply_rows(const AdditiveCodebooks& codebooks, const Code* codes,
                   const uint8_t* scale_codes, const float* scales, const float* x, float* y) {
  static_assert(G % I::kLanes == 0);
  const AdditiveCodebooks w = codebooks;  // a copy stays in registers
  const int count = M > 0 ? M : w.num_codebooks;
  const int64_t size = G > 0 ? G : w.in_group_size, row_codes = w.groups * count;
  typename I::Floats sum[R];
  for (int r = 0; r < R; ++r) sum[r] = I::zeros();
  for (int64_t j = 0; j < w.groups; ++j, codes += count, x += size) {
    for (int64_t i = 0; i < size; i += I::kLanes) {
      const auto in =
          G > 0 || size - i >= I::kLanes ? I::load(x + i) : I::load_first(x + i, size - i);
      for (int r = 0; r < R; ++r) {
        auto own = in;
        if (kScaled) own = in * I::broadcast(w.group_scales[scale_codes[r * w.groups + j]]);
        sum[r] = I::multiply_add(vector_sum<I, M, G>(w, codes + r * row_codes, 1, i), own, sum[r]);
      }
    }
  }
  for (int r = 0; r < R; ++r) y[r] = scales[r] * I::sum_lanes(sum[r]);
}

template <typename I, int M, int G, bool kScaled = false, typename Code>
void multiply_all(const AdditiveCodebooks& w, const Code* codes, const uint8_t* scale_codes,
                  const float* scales, int64_t rows, const float* x, float* y) {
  const int64_t row_codes = w.groups * w.num_codebooks;
  const auto own = [&](int64_t r) { return kScaled ? scale_codes + r * w.groups : nullptr; };
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    multiply_rows<I, 4, M, G, kScaled>(w, codes + r * row_codes, own(r), scales + r, x, y + r);
  }
  for (; r < rows; ++r) {
    multiply_rows<I, 1, M, G, kScaled>(w, codes + r * row_codes, own(r), scales + r, x, y + r);
  }
}

template <typename I, typename Code>
void gemv_typed(const AdditiveCodebooks& w, const Code* codes, const uint8_t* scale_codes,
                const float* scales, int64_t rows, const float* x, float* y) {
  if (w.group_scales != nullptr) {
    multiply_all<I, 0, 0, true>(w, codes, scale_codes, scales, rows, x, y);
  } else if (w.in_group_size == 8 && w.num_codebooks == 1) {
    multiply_all<I, 1, 8>(w, codes, scale_codes, scales, rows, x, y);
  } else if (w.in_group_size == 8 && w.num_codebooks == 2) {
    multiply_all<I, 2, 8>(w, codes, scale_codes, scales, rows, x, y);
  } else {
    multiply_all<I, 0, 0>(w, codes, scale_codes, scales, rows, x, y);
  }
}

template <typename I>
void gemv(const AdditiveCodebooks& w, const void* codes, const uint8_t* scale_codes,
          const float* scales, int64_t rows, const float* x, float* y) {
  if (w.code_bytes == 1) {
    gemv_typed<I>(w, static_cast<const uint8_t*>(codes), scale_codes, scales, rows, x, y);
  } else {
    gemv_typed<I>(w, static_cast<const uint16_t*>(codes), scale_codes, scales, rows, x, y);
  }
}

template <typename I, int M, int G, bool kScaled = false, typename Code>
void decode_groups(const AdditiveCodebooks& codebooks, const Code* codes, int64_t stride,
                   const uint8_t* scale_codes, float scale, float* out) {
  const AdditiveCodebooks w = codebooks;  // a copy stays in registers
  const int64_t size = G > 0 ? G : w.in_group_size;
  auto scales = I::broadcast(scale);
  for (int64_t j = 0; j < w.groups; ++j, out += size) {
    if (kScaled) scales = I::broadcast(scale * w.group_scales[scale_codes[j]]);
    for (int64_t i = 0; i < size; i += I::kLanes) {
      const auto v = vector_sum<I, M, G>(w, codes, stride, i) * scales;
      if (G > 0 || size - i >= I::kLanes) {
        I::store(out + i, v);
      } else {
        I::store_first(out + i, v, size - i);
      }
    }
    codes += w.num_codebooks * stride;
  }
}

template <typename I, typename Code>
void decode_typed(const AdditiveCodebooks& w, const Code* codes, int64_t stride,
                  const uint8_t* scale_codes, float scale, float* out) {
  if (w.group_scales != nullptr) {
    decode_groups<I, 0, 0, true>(w, codes, stride, scale_codes, scale, out);
  } else if (w.in_group_size == 8 && w.num_codebooks == 1) {
    decode_groups<I, 1, 8>(w, codes, stride, scale_codes, scale, out);
  } else if (w.in_group_size == 8 && w.num_codebooks == 2) {
    decode_groups<I, 2, 8>(w, codes, stride, scale_codes, scale, out);
  } else {
    decode_groups<I, 0, 0>(w, codes, stride, scale_codes, scale, out);
  }
}

template <typename I>
void decode_row(const AdditiveCodebooks& w, const void* codes, int64_t stride,
                const uint8_t* scale_codes, float scale, float* out) {
  if (w.code_bytes == 1) {
    decode_typed<I>(w, static_cast<const uint8_t*>(codes), stride, scale_codes, scale, out);
  } else {
    decode_typed<I>(w, static_cast<const uint16_t*>(codes), stride, scale_codes, scale, out);
  }
}

template <typename I>
AdditiveGatherKernels make_additive_gather() {
  return {gemv<I>, decode_row<I>};
}

}  // namespace
}  // namespace bitsmith
