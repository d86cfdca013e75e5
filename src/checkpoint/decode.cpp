// decode_to_float: stored values and GGUF blocks to float32.
//
// The block formats are those of ggml (ggml-common.h, ggml-quants.c); all numbers little-endian.
// Products and sums are rounded in ggml's order, so values equal its reference bit by bit. The
// loops have fixed lengths and no branches: the compiler turns them into vector code.
#include <bit>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "checkpoint/tensor_view.h"

namespace bitsmith {
namespace {

static_assert(std::endian::native == std::endian::little);

uint16_t load16(const uint8_t* p) {
  uint16_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}
float load_fp16(const uint8_t* p) { return fp16_to_float(load16(p)); }

// fp16_to_float without branches: a subnormal's mantissa is placed under the exponent of 2^-14,
// from which 2^-14 is subtracted; an exponent of 31 becomes 255.
float fp16_to_float_vector(uint16_t h) {
  const uint32_t magnitude = uint32_t{h & 0x7fffu} << 13;
  const uint32_t exponent = magnitude & (0x7c00u << 13);
  const uint32_t normal = magnitude + (112u << 23);
  const uint32_t special = exponent == (0x7c00u << 13) ? 112u << 23 : 0u;
  const float subnormal =
      std::bit_cast<float>(normal + (1u << 23)) - std::bit_cast<float>(113u << 23);
  const uint32_t value = exponent == 0 ? std::bit_cast<uint32_t>(subnormal) : normal + special;
  return std::bit_cast<float>(value | (uint32_t{h & 0x8000u} << 16));
}

void decode_fp16(const uint8_t* in, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = fp16_to_float_vector(load16(in + 2 * i));
}

void decode_bf16(const uint8_t* in, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = bf16_to_float(load16(in + 2 * i));
}

void decode_f64(const uint8_t* in, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    double value;
    std::memcpy(&value, in + 8 * i, sizeof(value));
    out[i] = static_cast<float>(value);
  }
}

// Blocks of 32. Byte i of the nibbles holds value i (low) and value i + 16 (high).

void decode_q4_0(const uint8_t* in, float* out) {  // fp16 scale, 16 bytes of nibbles
  const float scale = load_fp16(in);
  for (int i = 0; i < 16; ++i) {
    out[i] = static_cast<float>((in[2 + i] & 15) - 8) * scale;
    out[i + 16] = static_cast<float>((in[2 + i] >> 4) - 8) * scale;
  }
}

void decode_q4_1(const uint8_t* in, float* out) {  // fp16 scale, fp16 minimum, nibbles
  const float scale = load_fp16(in), minimum = load_fp16(in + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = static_cast<float>(in[4 + i] & 15) * scale + minimum;
    out[i + 16] = static_cast<float>(in[4 + i] >> 4) * scale + minimum;
  }
}

// The fifth bits of a block of 32: bit i of four bytes belongs to value i.
void fifth_bits(const uint8_t* in, uint8_t* out) {
  for (int byte = 0; byte < 4; ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      out[8 * byte + bit] = static_cast<uint8_t>(((in[byte] >> bit) & 1) << 4);
    }
  }
}

void decode_q5_0(const uint8_t* in, float* out) {  // fp16 scale, 4 bytes of fifth bits, nibbles
  const float scale = load_fp16(in);
  uint8_t high[32];
  fifth_bits(in + 2, high);
  for (int i = 0; i < 16; ++i) {
    out[i] = static_cast<float>(((in[6 + i] & 15) | high[i]) - 16) * scale;
    out[i + 16] = static_cast<float>(((in[6 + i] >> 4) | high[i + 16]) - 16) * scale;
  }
}

void decode_q5_1(const uint8_t* in, float* out) {  // fp16 scale, fp16 minimum, fifth bits, nibbles
  const float scale = load_fp16(in), minimum = load_fp16(in + 2);
  uint8_t high[32];
  fifth_bits(in + 4, high);
  for (int i = 0; i < 16; ++i) {
    out[i] = static_cast<float>((in[8 + i] & 15) | high[i]) * scale + minimum;
    out[i + 16] = static_cast<float>((in[8 + i] >> 4) | high[i + 16]) * scale + minimum;
  }
}

void decode_q8_0(const uint8_t* in, float* out) {  // fp16 scale, 32 int8
  const float scale = load_fp16(in);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(in[2 + i])) * scale;
}

// Blocks of 256 ("k-quants"): small groups with integer scales under one or two fp16 factors.

// 16 bytes of scale (low nibble) and minimum (high nibble) per 16 values, 64 bytes of 2-bit values,
// fp16 factors of scales and of minima.
void decode_q2_k(const uint8_t* in, float* out) {
  const uint8_t* values = in + 16;
  const float scale_factor = load_fp16(in + 80), minimum_factor = load_fp16(in + 82);
  for (int group = 0; group < 16; ++group) {
    const float scale = scale_factor * static_cast<float>(in[group] & 15);
    const float minimum = minimum_factor * static_cast<float>(in[group] >> 4);
    const uint8_t* q = values + 32 * (group / 8) + 16 * (group % 2);
    const int shift = 2 * (group / 2 % 4);
    for (int i = 0; i < 16; ++i) {
      out[16 * group + i] = scale * static_cast<float>((q[i] >> shift) & 3) - minimum;
    }
  }
}

// 32 bytes of third bits, 64 bytes of low 2-bit values, 12 bytes of 16 six-bit scales (plus 32),
// fp16 factor.
void decode_q3_k(const uint8_t* in, float* out) {
  const uint8_t *high = in, *low = in + 32, *packed = in + 96;
  const float factor = load_fp16(in + 108);
  for (int group = 0; group < 16; ++group) {
    const int low4 = group < 8 ? packed[group] & 15 : packed[group - 8] >> 4;
    const int high2 = (packed[8 + group % 4] >> (2 * (group / 4))) & 3;
    const float scale = factor * static_cast<float>((low4 | high2 << 4) - 32);
    const uint8_t* q = low + 32 * (group / 8) + 16 * (group % 2);
    const uint8_t* h = high + 16 * (group % 2);
    const int shift = 2 * (group / 2 % 4), bit = group / 2;
    for (int i = 0; i < 16; ++i) {
      const int value = ((q[i] >> shift) & 3) + 4 * ((h[i] >> bit) & 1) - 4;
      out[16 * group + i] = scale * static_cast<float>(value);
    }
  }
}

// The 8 six-bit scales and 8 six-bit minima of Q4_K and Q5_K in 12 bytes.
struct GroupScale {
  int scale, minimum;
};
GroupScale group_scale(const uint8_t* packed, int group) {
  if (group < 4) return {packed[group] & 63, packed[group + 4] & 63};
  return {(packed[group + 4] & 15) | (packed[group - 4] >> 6) << 4,
          (packed[group + 4] >> 4) | (packed[group] >> 6) << 4};
}

// fp16 factors of scales and of minima, 12 bytes of both, 128 bytes of nibbles: 32 bytes hold a
// group of 32 (low) and the next one (high).
void decode_q4_k(const uint8_t* in, float* out) {
  const float scale_factor = load_fp16(in), minimum_factor = load_fp16(in + 2);
  for (int group = 0; group < 8; ++group) {
    const GroupScale integers = group_scale(in + 4, group);
    const float scale = scale_factor * static_cast<float>(integers.scale);
    const float minimum = minimum_factor * static_cast<float>(integers.minimum);
    const uint8_t* q = in + 16 + 32 * (group / 2);
    const int shift = 4 * (group % 2);
    for (int i = 0; i < 32; ++i) {
      out[32 * group + i] = scale * static_cast<float>((q[i] >> shift) & 15) - minimum;
    }
  }
}

// As Q4_K, with 32 bytes of fifth bits (bit g of byte i: value i of group g) before the nibbles.
void decode_q5_k(const uint8_t* in, float* out) {
  const float scale_factor = load_fp16(in), minimum_factor = load_fp16(in + 2);
  const uint8_t* high = in + 16;
  for (int group = 0; group < 8; ++group) {
    const GroupScale integers = group_scale(in + 4, group);
    const float scale = scale_factor * static_cast<float>(integers.scale);
    const float minimum = minimum_factor * static_cast<float>(integers.minimum);
    const uint8_t* q = in + 48 + 32 * (group / 2);
    const int shift = 4 * (group % 2);
    for (int i = 0; i < 32; ++i) {
      const int value = ((q[i] >> shift) & 15) | ((high[i] >> group) & 1) << 4;
      out[32 * group + i] = scale * static_cast<float>(value) - minimum;
    }
  }
}

// 128 bytes of low nibbles, 64 bytes of upper 2 bits, 16 int8 scales (per 16 values), fp16 factor.
// In each half of 128 values, 32 lanes: nibble bytes l and l + 32, upper bits in byte l.
void decode_q6_k(const uint8_t* in, float* out) {
  const float factor = load_fp16(in + 208);
  for (int group = 0; group < 16; ++group) {
    const int half = group / 8, quarter = group / 2 % 4, lane = 16 * (group % 2);
    const float scale = factor * static_cast<float>(static_cast<int8_t>(in[192 + group]));
    const uint8_t* low = in + 64 * half + 32 * (quarter % 2) + lane;
    const uint8_t* high = in + 128 + 32 * half + lane;
    const int low_shift = 4 * (quarter / 2), high_shift = 2 * quarter;
    for (int i = 0; i < 16; ++i) {
      const int value = ((low[i] >> low_shift) & 15) | ((high[i] >> high_shift) & 3) << 4;
      out[16 * group + i] = scale * static_cast<float>(value - 32);
    }
  }
}

template <void (*decode_block)(const uint8_t*, float*)>
void decode_blocks(DType dtype, const uint8_t* in, int64_t count, float* out) {
  const BlockLayout layout = block_layout(dtype);
  for (int64_t block = 0; block < count / layout.elements; ++block) {
    decode_block(in + block * layout.bytes, out + block * layout.elements);
  }
}

}  // namespace

void decode_to_float(DType dtype, std::span<const std::byte> bytes, std::span<float> out) {
  const int64_t count = static_cast<int64_t>(out.size());
  const BlockLayout layout = block_layout(dtype);
  BITSMITH_CHECK(count % layout.elements == 0);
  BITSMITH_CHECK(static_cast<int64_t>(bytes.size()) / layout.bytes >= count / layout.elements);
  const uint8_t* in = reinterpret_cast<const uint8_t*>(bytes.data());
  switch (dtype) {
    case DType::F32:
      if (count > 0) std::memcpy(out.data(), in, out.size_bytes());
      return;
    case DType::F16:
      return decode_fp16(in, count, out.data());
    case DType::BF16:
      return decode_bf16(in, count, out.data());
    case DType::F64:
      return decode_f64(in, count, out.data());
    case DType::Q4_0:
      return decode_blocks<decode_q4_0>(dtype, in, count, out.data());
    case DType::Q4_1:
      return decode_blocks<decode_q4_1>(dtype, in, count, out.data());
    case DType::Q5_0:
      return decode_blocks<decode_q5_0>(dtype, in, count, out.data());
    case DType::Q5_1:
      return decode_blocks<decode_q5_1>(dtype, in, count, out.data());
    case DType::Q8_0:
      return decode_blocks<decode_q8_0>(dtype, in, count, out.data());
    case DType::Q2_K:
      return decode_blocks<decode_q2_k>(dtype, in, count, out.data());
    case DType::Q3_K:
      return decode_blocks<decode_q3_k>(dtype, in, count, out.data());
    case DType::Q4_K:
      return decode_blocks<decode_q4_k>(dtype, in, count, out.data());
    case DType::Q5_K:
      return decode_blocks<decode_q5_k>(dtype, in, count, out.data());
    case DType::Q6_K:
      return decode_blocks<decode_q6_k>(dtype, in, count, out.data());
    default:
      throw Error(concat(dtype_name(dtype), " values are not floating-point weights"));
  }
}

}  // namespace bitsmith
