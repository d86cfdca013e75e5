// A small, fast generator with a visible state, so that a run can be saved and resumed exactly.
// PCG32 (O'Neill 2014, XSH-RR). The same seed gives the same stream on every machine.
#pragma once
#include <cmath>
#include <cstdint>

namespace bitsmith {

class Random {
 public:
  explicit Random(uint64_t seed = 0, uint64_t stream = 0) : increment(2 * stream + 1) {
    next();
    state += seed;
    next();
  }

  uint32_t next() {
    const uint64_t old = state;
    state = old * 6364136223846793005ull + increment;
    const uint32_t x = static_cast<uint32_t>(((old >> 18) ^ old) >> 27);
    const uint32_t r = static_cast<uint32_t>(old >> 59);
    return (x >> r) | (x << ((32 - r) & 31));
  }
  // Uniform in [0, n), n > 0, without bias.
  uint32_t below(uint32_t n) {
    const uint32_t threshold = (0u - n) % n;
    for (;;) {
      const uint32_t x = next();
      if (x >= threshold) return x % n;
    }
  }
  // Uniform in [0, 1).
  double uniform() { return next() * 0x1p-32; }
  // Standard normal (Box-Muller, one value a call).
  double normal() {
    const double u = 1.0 - uniform(), v = uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
  }

  uint64_t state = 0;  // the whole state, with `increment`: copy to save, assign to restore
  uint64_t increment = 1;
};

}  // namespace bitsmith
