// The registers of AVX2 with the products of AVX-VNNI. Included by *_avxvnni.cpp only.
#pragma once
#include "kernels/simd_avx2.h"

namespace bitsmith {
namespace {

struct SimdVnni : Simd {
  static Words add_byte_products(Words dot, Words a, Words b) {
    return _mm256_dpbusd_avx_epi32(dot, a, b);
  }
};

}  // namespace
}  // namespace bitsmith
