#include "kernels/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cstdlib>
#include <string>

#include "base/error.h"

namespace bitsmith {
namespace {

constexpr Isa kLevels[] = {Isa::scalar, Isa::avx2, Isa::avx512};

Isa choose_isa() {
  const char* forced = std::getenv("BITSMITH_ISA");
  if (!forced || !*forced) {
    Isa best = Isa::scalar;
    for (const Isa isa : kLevels) best = cpu_supports(isa) ? isa : best;
    return best;
  }
  for (const Isa isa : kLevels) {
    if (std::string(forced) != isa_name(isa)) continue;
    if (cpu_supports(isa)) return isa;
    throw UsageError(concat("BITSMITH_ISA=", forced, ": this processor lacks these instructions"));
  }
  throw UsageError(concat("BITSMITH_ISA=", forced, " is none of scalar, avx2, avx512"));
}

#if defined(__x86_64__)
// Clang 14 does not know "f16c" in __builtin_cpu_supports.
bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return "scalar";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
  }
  return "";
}

bool cpu_supports(Isa isa) {
  if (isa == Isa::scalar) return true;
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  if (isa == Isa::avx2) return avx2;
  return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
#else
  return false;
#endif
}

Isa selected_isa() {
  static const Isa isa = choose_isa();
  return isa;
}

bool has_bfloat16_products() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

}  // namespace bitsmith
