// decode_to_float against encoders that write integers where the formats' definitions put them.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "base/half.h"
#include "base/random.h"
#include "checkpoint/tensor_view.h"

namespace bitsmith {
namespace {

using Block = std::vector<uint8_t>;

void put_fp16(Block& block, size_t at, float value) {
  const uint16_t half = float_to_fp16(value);
  std::memcpy(&block[at], &half, 2);
}

// A random fp16 value, and integers of a number of bits.
struct Source {
  Random random{5};
  float half() { return fp16_to_float(float_to_fp16(static_cast<float>(random.normal()))); }
  std::vector<int> integers(size_t count, uint32_t bits) {
    std::vector<int> values(count);
    for (int& value : values) value = static_cast<int>(random.below(1u << bits));
    return values;
  }
};

// Encodes one random block and returns the values that it stands for.
using Encoder = std::function<std::vector<float>(Source&, Block&)>;

void expect_exact(DType dtype, const Encoder& encode) {
  const BlockLayout layout = block_layout(dtype);
  Source source;
  Block bytes;
  std::vector<float> expected;
  for (int i = 0; i < 50; ++i) {
    Block block(static_cast<size_t>(layout.bytes), 0);
    const auto values = encode(source, block);
    bytes.insert(bytes.end(), block.begin(), block.end());
    expected.insert(expected.end(), values.begin(), values.end());
  }
  std::vector<float> decoded(expected.size());
  decode_to_float(dtype, std::as_bytes(std::span(bytes)), decoded);
  for (size_t i = 0; i < decoded.size(); ++i) {
    ASSERT_EQ(decoded[i], expected[i]) << dtype_name(dtype) << " value " << i;
  }
}

// Blocks of 32: nibble of value i in byte i mod 16, the upper half for i >= 16.
void put_nibbles(Block& block, size_t at, const std::vector<int>& q) {
  for (size_t i = 0; i < 32; ++i) {
    block[at + i % 16] |= static_cast<uint8_t>((q[i] & 15) << (i < 16 ? 0 : 4));
  }
}
void put_fifth_bits(Block& block, size_t at, const std::vector<int>& q) {
  for (size_t i = 0; i < 32; ++i) {
    block[at + i / 8] |= static_cast<uint8_t>((q[i] >> 4) << (i % 8));
  }
}

// The blocks of 32 with a scale and perhaps a minimum.
Encoder small_block(uint32_t bits, bool minimum) {
  return [=](Source& source, Block& block) {
    const float scale = source.half(), offset = minimum ? source.half() : 0.0f;
    const auto q = source.integers(32, bits);
    put_fp16(block, 0, scale);
    if (minimum) put_fp16(block, 2, offset);
    const size_t at = minimum ? 4 : 2;
    if (bits == 5) put_fifth_bits(block, at, q);
    put_nibbles(block, at + (bits == 5 ? 4 : 0), q);
    std::vector<float> values;
    for (const int code : q) {
      const int center = 1 << (bits - 1);
      values.push_back(minimum ? static_cast<float>(code) * scale + offset
                               : static_cast<float>(code - center) * scale);
    }
    return values;
  };
}

TEST(DecodeTest, BlocksOf32) {
  expect_exact(DType::Q4_0, small_block(4, false));
  expect_exact(DType::Q4_1, small_block(4, true));
  expect_exact(DType::Q5_0, small_block(5, false));
  expect_exact(DType::Q5_1, small_block(5, true));
  expect_exact(DType::Q8_0, [](Source& source, Block& block) {
    const float scale = source.half();
    put_fp16(block, 0, scale);
    std::vector<float> values;
    for (size_t i = 0; i < 32; ++i) {
      const int code = static_cast<int>(source.random.below(256)) - 128;
      block[2 + i] = static_cast<uint8_t>(code);
      values.push_back(static_cast<float>(code) * scale);
    }
    return values;
  });
}

// 2-bit fields of the k-quants: of the 128 values of a half, value i lies in byte i mod 32.
void put_two_bits(Block& block, size_t at, const std::vector<int>& q) {
  for (size_t i = 0; i < 256; ++i) {
    const size_t half = i / 128, inside = i % 128;
    block[at + 32 * half + inside % 32] |= static_cast<uint8_t>((q[i] & 3) << (2 * (inside / 32)));
  }
}

TEST(DecodeTest, Q2K) {
  expect_exact(DType::Q2_K, [](Source& source, Block& block) {
    const float d = source.half(), dmin = source.half();
    const auto q = source.integers(256, 2), scales = source.integers(16, 4),
               minima = source.integers(16, 4);
    put_fp16(block, 80, d);
    put_fp16(block, 82, dmin);
    put_two_bits(block, 16, q);
    std::vector<float> values;
    for (size_t i = 0; i < 16; ++i) block[i] = static_cast<uint8_t>(scales[i] | minima[i] << 4);
    for (size_t i = 0; i < 256; ++i) {
      const float scale = d * static_cast<float>(scales[i / 16]);
      const float minimum = dmin * static_cast<float>(minima[i / 16]);
      values.push_back(scale * static_cast<float>(q[i]) - minimum);
    }
    return values;
  });
}

TEST(DecodeTest, Q3K) {
  expect_exact(DType::Q3_K, [](Source& source, Block& block) {
    const float d = source.half();
    const auto q = source.integers(256, 3), scales = source.integers(16, 6);
    put_fp16(block, 108, d);
    put_two_bits(block, 32, q);
    for (size_t i = 0; i < 256; ++i) {  // third bits: bit i / 32 of byte i mod 32
      block[i % 32] |= static_cast<uint8_t>((q[i] >> 2) << (i / 32));
    }
    for (size_t i = 0; i < 16; ++i) {
      block[96 + i % 8] |= static_cast<uint8_t>((scales[i] & 15) << (i < 8 ? 0 : 4));
      block[104 + i % 4] |= static_cast<uint8_t>((scales[i] >> 4) << (2 * (i / 4)));
    }
    std::vector<float> values;
    for (size_t i = 0; i < 256; ++i) {
      values.push_back(d * static_cast<float>(scales[i / 16] - 32) * static_cast<float>(q[i] - 4));
    }
    return values;
  });
}

// Eight 6-bit scales and minima of Q4_K and Q5_K in 12 bytes: the first four of each take the low
// six bits of bytes 0-3 and 4-7; the others have their low nibbles in bytes 8-11 and their upper
// two bits above those of the first four.
void put_group_scales(Block& block, size_t at, const std::vector<int>& scales,
                      const std::vector<int>& minima) {
  for (size_t i = 0; i < 4; ++i) {
    block[at + i] = static_cast<uint8_t>(scales[i] | (scales[i + 4] >> 4) << 6);
    block[at + 4 + i] = static_cast<uint8_t>(minima[i] | (minima[i + 4] >> 4) << 6);
    block[at + 8 + i] = static_cast<uint8_t>((scales[i + 4] & 15) | (minima[i + 4] & 15) << 4);
  }
}

Encoder nibble_k_block(uint32_t bits) {
  return [=](Source& source, Block& block) {
    const float d = source.half(), dmin = source.half();
    const auto q = source.integers(256, bits), scales = source.integers(8, 6),
               minima = source.integers(8, 6);
    put_fp16(block, 0, d);
    put_fp16(block, 2, dmin);
    put_group_scales(block, 4, scales, minima);
    const size_t nibbles = bits == 5 ? 48 : 16;
    std::vector<float> values;
    for (size_t i = 0; i < 256; ++i) {
      const size_t group = i / 32;
      block[nibbles + 32 * (group / 2) + i % 32] |=
          static_cast<uint8_t>((q[i] & 15) << (4 * (group % 2)));
      if (bits == 5) block[16 + i % 32] |= static_cast<uint8_t>((q[i] >> 4) << group);
      const float scale = d * static_cast<float>(scales[group]);
      const float minimum = dmin * static_cast<float>(minima[group]);
      values.push_back(scale * static_cast<float>(q[i]) - minimum);
    }
    return values;
  };
}

TEST(DecodeTest, Q4KAndQ5K) {
  expect_exact(DType::Q4_K, nibble_k_block(4));
  expect_exact(DType::Q5_K, nibble_k_block(5));
}

TEST(DecodeTest, Q6K) {
  expect_exact(DType::Q6_K, [](Source& source, Block& block) {
    const float d = source.half();
    const auto q = source.integers(256, 6), scales = source.integers(16, 8);
    put_fp16(block, 208, d);
    std::vector<float> values;
    for (size_t i = 0; i < 256; ++i) {  // of a half's 128 values, i and i + 64 share a nibble byte
      const size_t half = i / 128, inside = i % 128;
      block[64 * half + inside % 64] |= static_cast<uint8_t>((q[i] & 15) << (4 * (inside / 64)));
      block[128 + 32 * half + inside % 32] |=
          static_cast<uint8_t>((q[i] >> 4) << (2 * (inside / 32)));
      block[192 + i / 16] = static_cast<uint8_t>(scales[i / 16] - 128);
      values.push_back(d * static_cast<float>(scales[i / 16] - 128) *
                       static_cast<float>(q[i] - 32));
    }
    return values;
  });
}

TEST(DecodeTest, EveryHalf) {
  std::vector<uint16_t> codes(65536);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint16_t>(i);
  std::vector<float> fp16(codes.size()), bf16(codes.size());
  decode_to_float(DType::F16, std::as_bytes(std::span(codes)), fp16);
  decode_to_float(DType::BF16, std::as_bytes(std::span(codes)), bf16);
  for (size_t i = 0; i < codes.size(); ++i) {  // bit patterns, so NaN counts too
    ASSERT_EQ(std::bit_cast<uint32_t>(fp16[i]),
              std::bit_cast<uint32_t>(fp16_to_float(static_cast<uint16_t>(i))));
    ASSERT_EQ(std::bit_cast<uint32_t>(bf16[i]),
              std::bit_cast<uint32_t>(bf16_to_float(static_cast<uint16_t>(i))));
  }
}

TEST(DecodeTest, PlainFloatsFromAnyAddress) {
  const std::vector<double> doubles = {1.5, -0.1, 1e300};
  const std::vector<float> floats = {1.5f, -0.1f, 1e30f};
  std::vector<std::byte> shifted(1 + 8 * doubles.size());
  std::vector<float> out(3);
  std::memcpy(shifted.data() + 1, doubles.data(), 24);
  decode_to_float(DType::F64, std::span(shifted).subspan(1), out);
  EXPECT_EQ(out, (std::vector<float>{1.5f, -0.1f, INFINITY}));
  std::memcpy(shifted.data() + 1, floats.data(), 12);
  decode_to_float(DType::F32, std::span(shifted).subspan(1), out);
  EXPECT_EQ(out, floats);
  decode_to_float(DType::F32, {}, {});
}

}  // namespace
}  // namespace bitsmith
