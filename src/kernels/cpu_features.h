// Which instruction sets the kernels may use.
#pragma once

namespace bitsmith {

// avx2: AVX2, FMA, F16C. avxvnni: also AVX-VNNI. avx512: those of avx2, and AVX-512 F, BW, DQ, VL
// and VNNI. avx512vbmi: also AVX-512 VBMI. neon: NEON of 64-bit ARM processors, with the dot
// product of Armv8.2.
enum class Isa { scalar, avx2, avxvnni, avx512, avx512vbmi, neon };
// Of two that a processor has the later is the better.
inline constexpr Isa kIsaLevels[] = {Isa::scalar, Isa::avx2,       Isa::avxvnni,
                                     Isa::avx512, Isa::avx512vbmi, Isa::neon};

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
