#include "kernels/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstdlib>
#include <string>

#include "base/error.h"

namespace bitsmith {
namespace {

constexpr Isa kLevels[] = {Isa::scalar, Isa::avx2, Isa::avx512, Isa::amx};

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
  throw UsageError(concat("BITSMITH_ISA=", forced, " is none of scalar, avx2, avx512, amx"));
}

#if defined(__x86_64__)
// Clang 14 does not know "f16c" in __builtin_cpu_supports.
bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

// Linux gives the state of the tiles to processes that ask for it.
bool may_use_tiles() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned kAmx = 1u << 24 | 1u << 25;  // AMX-TILE, AMX-INT8
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || (edx & kAmx) != kAmx) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
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
    case Isa::amx:
      return "amx";
  }
  return "";
}

bool cpu_supports(Isa isa) {
  if (isa == Isa::scalar) return true;
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  if (isa == Isa::avx2) return avx2;
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") &&
                      __builtin_cpu_supports("avx512vbmi");
  static const bool tiles = may_use_tiles();
  return isa == Isa::amx ? avx512 && tiles : avx512;
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
