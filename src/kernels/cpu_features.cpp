#include "kernels/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include <cstdlib>
#include <string>

#include "base/error.h"

namespace bitsmith {
namespace {

Isa choose_isa() {
  const char* forced = std::getenv("BITSMITH_ISA");
  if (!forced || !*forced) {
    Isa best = Isa::scalar;
    for (const Isa isa : kIsaLevels) best = cpu_supports(isa) ? isa : best;
    return best;
  }
  std::string names;
  for (const Isa isa : kIsaLevels) {
    names += (names.empty() ? "" : ", ") + std::string(isa_name(isa));
    if (std::string(forced) != isa_name(isa)) continue;
    if (cpu_supports(isa)) return isa;
    throw UsageError(concat("BITSMITH_ISA=", forced, ": this processor lacks these instructions"));
  }
  throw UsageError(concat("BITSMITH_ISA=", forced, " is none of ", names));
}

#if defined(__x86_64__)
// Clang 14 does not know "f16c" and "avxvnni" in __builtin_cpu_supports.
bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

bool has_avx_vnni() {
  constexpr unsigned kBit = 1u << 4;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & kBit) != 0;
}

bool processor_has(Isa isa) {
  if (isa == Isa::neon) return false;
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  if (isa == Isa::avx2) return avx2;
  if (isa == Isa::avxvnni) return avx2 && has_avx_vnni();
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
  return isa == Isa::avx512 ? avx512 : avx512 && __builtin_cpu_supports("avx512vbmi");
}
#elif defined(__aarch64__)
bool processor_has(Isa isa) {
  return isa == Isa::neon && (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
}
#else
bool processor_has(Isa) { return false; }
#endif

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return "scalar";
    case Isa::avx2:
      return "avx2";
    case Isa::avxvnni:
      return "avxvnni";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512vbmi:
      return "avx512vbmi";
    case Isa::neon:
      return "neon";
  }
  return "";
}

bool cpu_supports(Isa isa) { return isa == Isa::scalar || processor_has(isa); }

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
