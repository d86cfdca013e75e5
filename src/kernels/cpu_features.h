// Which instruction sets the kernels may use: three levels, each of which contains the ones below.
#pragma once

namespace bitsmith {

// avx2: AVX2, FMA, F16C. avx512: also AVX-512 F, BW, DQ, VL, VNNI and VBMI.
enum class Isa { scalar, avx2, avx512 };

const char* isa_name(Isa isa);
bool cpu_supports(Isa isa);
// Chosen once: the best of this processor, or what BITSMITH_ISA says. Throws UsageError when that
// is not a level, or one that this processor lacks.
Isa selected_isa();

// Whether this processor multiplies bfloat16 numbers (AVX512_BF16; processors with AMX have it
// too): LibTorch's matrix products in bfloat16 are faster than in float32 there, and slower
// elsewhere.
bool has_bfloat16_products();

}  // namespace bitsmith
