// Moments in 8 bits (after Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization"):
// blocks of neighbors with a float32 scale, the largest magnitude in them. A value over its scale
// is a small float of 3 mantissa bits, so that its error is a share of itself: a direction m /
// sqrt(v) is as good where gradients are small as where they are large. Values are rounded at
// random, up and down with the probabilities that keep the mean: to the nearest, a step that
// changes a moment by less than half a spacing (6 %) would be lost, each time.
#pragma once
#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstdint>

namespace bitsmith {

// Values that share a scale. 0 stands for a block of zeros.
constexpr int64_t kMomentBlock = 128;

// Codes of magnitudes in [0, 1]. Code c > 0 is the float whose bits begin with its exponent and
// three bits, kLargest is 1, and 0 is 0. kLargest 255 reaches down to 2^-31.7 (squares), 127 with a
// sign beside it to 2^-15.7.
template <uint32_t kLargest>
struct SmallFloat {
  static constexpr uint32_t kDropped = 20;  // of the 23 mantissa bits
  static constexpr uint32_t kOffset = (127u << 3) - kLargest;

  static float decode(uint32_t code) {
    return code == 0 ? 0.0f : std::bit_cast<float>((code + kOffset) << kDropped);
  }
  // chance: 20 random bits; 2^19 rounds to the nearest.
  static uint32_t encode(float x, uint32_t chance) {
    const float least = decode(1);
    if (x < least) return static_cast<float>(chance) * 0x1p-20f < x / least ? 1 : 0;
    return std::min(((std::bit_cast<uint32_t>(x) + chance) >> kDropped) - kOffset, kLargest);
  }
};

// 20 bits of chance for value `index` (modulo 2^32) under `seed`: a function of the two alone
// (Wellons' 32-bit hash).
inline uint32_t moment_chance(uint32_t seed, uint32_t index) {
  uint32_t x = seed ^ (index * 0x9e3779b9u);
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return (x ^ (x >> 16)) >> 12;
}

// A moment under kEightBits. One block is read and written by one thread.
template <bool kSigned>
class EightBitMoment {
 public:
  EightBitMoment(uint8_t* codes, float* scales, uint32_t seed)
      : codes_(codes), scales_(scales), seed_(seed) {}

  // `count` values from the first of a block, at place `at`.
  void load(int64_t at, int64_t count, float* values) const {
    const float scale = scales_[at / kMomentBlock];
    for (int64_t i = 0; i < count; ++i) values[i] = scale * decode(codes_[at + i]);
  }
  void store(int64_t at, int64_t count, const float* values) const {
    float scale = 0;
    for (int64_t i = 0; i < count; ++i) scale = std::max(scale, std::abs(values[i]));
    const float inverse = scale >= FLT_MIN ? 1 / scale : 0;
    scales_[at / kMomentBlock] = inverse > 0 ? scale : 0;
    for (int64_t i = 0; i < count; ++i) {
      const uint32_t chance = moment_chance(seed_, static_cast<uint32_t>(at + i));
      codes_[at + i] = encode(values[i] * inverse, chance);
    }
  }
  // Multiplies `count` values from place `at` on, wherever in blocks, by a share in [0, 1]; to the
  // nearest under the scales that there are.
  void shrink(int64_t at, int64_t count, float share) const {
    for (uint8_t* code = codes_ + at; code < codes_ + at + count; ++code)
      *code = encode(decode(*code) * share, 1u << 19);
  }

 private:
  using Magnitude = SmallFloat<kSigned ? 127 : 255>;

  static float decode(uint8_t code) {
    if constexpr (!kSigned) return Magnitude::decode(code);
    const float magnitude = Magnitude::decode(code & 127u);
    return code > 127 ? -magnitude : magnitude;
  }
  static uint8_t encode(float x, uint32_t chance) {
    const uint32_t magnitude = Magnitude::encode(std::abs(x), chance);
    return static_cast<uint8_t>(kSigned && x < 0 ? magnitude | 128u : magnitude);
  }

  uint8_t* codes_;
  float* scales_;
  uint32_t seed_;
};

}  // namespace bitsmith
