#include "kernels/additive_lookup.h"
#include "kernels/simd_neon.h"

namespace bitsmith {
namespace {

constexpr int64_t kMaxInputs = kLookupSet * 64;  // of a table set, at the largest group size
constexpr int64_t kAhead = 2048;  // bytes of codes that are needed some hundred cycles later

// Sums of 16 centroids in the order of lookup_place(), to their entries of both planes.
void store_entries(const int32x4_t sums[4], uint8_t* table) {
  const auto halves = [](int32x4_t a) { return vreinterpretq_s16_s32(a); };
  // Upper halves of two registers side by side, then their bytes likewise.
  const uint8x16_t a = vreinterpretq_u8_s16(vtrn2q_s16(halves(sums[0]), halves(sums[1])));
  const uint8x16_t b = vreinterpretq_u8_s16(vtrn2q_s16(halves(sums[2]), halves(sums[3])));
  vst1q_u8(table, vtrn1q_u8(a, b));
  vst1q_u8(table + kLookupEntries, vtrn2q_u8(a, b));
}

// The tables of one codebook for J neighboring groups, which share the loads of the codebook.
// x: pairs of inputs.
template <int J>
void build_group_tables(const int16_t* codebook, int64_t pairs, const int16_t* x, uint8_t* tables,
                        int64_t table_stride) {
  for (int64_t e = 0; e < kLookupEntries; e += 16) {
    int32x4_t sums[J][4];
    for (int j = 0; j < J; ++j) {
      for (int k = 0; k < 4; ++k) sums[j][k] = vdupq_n_s32(static_cast<int32_t>(0x80008000u));
    }
    // Lanes e % 64 / 4 .. of the four registers that hold 64 centroids.
    const int16_t* centroids = codebook + 2 * (e / 64 * 64 + e % 64 / 4);
    for (int64_t i = 0; i < pairs; ++i, centroids += 2 * kLookupEntries) {
      for (int k = 0; k < 4; ++k) {
        const int16x4x2_t v = vld2_s16(centroids + 2 * 16 * k);
        for (int j = 0; j < J; ++j) {
          const int16_t* in = x + 2 * (j * pairs + i);
          sums[j][k] = vmlal_n_s16(vmlal_n_s16(sums[j][k], v.val[0], in[0]), v.val[1], in[1]);
        }
      }
    }
    for (int j = 0; j < J; ++j) store_entries(sums[j], tables + j * table_stride + e);
  }
}

int64_t set_count(const LookupLayout& w, int64_t set) {
  const int64_t left = w.groups - set * w.set_groups;
  return left < w.set_groups ? left : w.set_groups;
}

float squared_norm(const float* x, int64_t count) {
  float32x4_t sum = Simd::zeros();
  for (int64_t i = 0; i < count; i += Simd::kLanes) {
    const int64_t left = count - i < Simd::kLanes ? count - i : Simd::kLanes;
    const float32x4_t v = Simd::load_first(x + i, left);
    sum = Simd::multiply_add(v, v, sum);
  }
  return Simd::sum_lanes(sum);
}

float build_tables(const LookupLayout& w, const float* x, int64_t set, uint8_t* tables) {
  const int64_t count = set_count(w, set), size = w.in_group_size, pairs = (size + 1) / 2;
  x += set * w.set_groups * size;
  float largest = 0;
  for (int64_t j = 0; j < count; ++j) {
    const float square = squared_norm(x + j * size, size);
    largest = square > largest ? square : largest;
  }
  const float norm = __builtin_sqrtf(largest), inverse = norm > 0 ? kLookupNorm / norm : 0;

  int16_t inputs[kMaxInputs] = {};
  for (int64_t j = 0; j < count; ++j) {
    for (int64_t i = 0; i < size; ++i) {
      inputs[2 * j * pairs + i] = static_cast<int16_t>(vcvtns_s32_f32(x[j * size + i] * inverse));
    }
  }
  const int64_t stride = w.num_codebooks * kLookupTable;
  for (int m = 0; m < w.num_codebooks; ++m) {
    const int16_t* codebook = w.codebooks + m * pairs * 2 * kLookupEntries;
    uint8_t* table = tables + m * kLookupTable;
    int64_t j = 0;
    for (; j + 2 <= count; j += 2) {
      build_group_tables<2>(codebook, pairs, inputs + 2 * j * pairs, table + j * stride, stride);
    }
    if (j < count) {
      build_group_tables<1>(codebook, pairs, inputs + 2 * j * pairs, table + j * stride, stride);
    }
  }
  return norm / kLookupNorm * w.codebook_step * 65536;
}

// One plane of a table: 256 bytes, which 16 codes are looked up in at once.
struct Plane {
  explicit Plane(const uint8_t* bytes) {
    for (int i = 0; i < 4; ++i) part[i] = vld1q_u8_x4(bytes + 64 * i);
  }
  uint8x16_t operator[](uint8x16_t codes) const {
    // A code beyond a part leaves the byte as it is.
    uint8x16_t found = vqtbl4q_u8(part[0], codes);
    for (int i = 1; i < 4; ++i) {
      const uint8x16_t within = vsubq_u8(codes, vdupq_n_u8(static_cast<uint8_t>(64 * i)));
      found = vqtbx4q_u8(found, part[i], within);
    }
    return found;
  }
  uint8x16x4_t part[4];
};

// Sums of bytes in 16-bit lanes: `all` adds whole words (even + 256 odd, modulo 2^16), `odd` the
// upper bytes alone.
struct ByteSums {
  uint16x8_t all = vdupq_n_u16(0), odd = vdupq_n_u16(0);

  void add(uint8x16_t bytes) {
    const uint16x8_t words = vreinterpretq_u16_u8(bytes);
    all = vaddq_u16(all, words);
    odd = vsraq_n_u16(odd, words, 8);
  }
  uint16x8_t even() const { return vsubq_u16(all, vshlq_n_u16(odd, 8)); }
};

// The sums of a bundle's bytes in one plane of each table: a register of them each for 16 bytes of
// codes. The lookups' codes are `stride` apart.
void sum_plane(const uint8_t* codes, int64_t stride, int64_t lookups, const uint8_t* planes,
               ByteSums sums[4]) {
  for (int64_t k = 0; k < lookups; ++k, codes += stride, planes += kLookupTable) {
    __builtin_prefetch(codes + kAhead);
    const Plane plane(planes);
    for (int i = 0; i < 4; ++i) sums[i].add(plane[vld1q_u8(codes + 16 * i)]);
  }
}

// 4 rows: sums += step * (low + 256 high - offset).
void add_rows(uint16x4_t low, uint16x4_t high, int32x4_t offset, float step, float* sums) {
  const uint32x4_t total = vaddq_u32(vmovl_u16(low), vshlq_n_u32(vmovl_u16(high), 8));
  const int32x4_t sum = vsubq_s32(vreinterpretq_s32_u32(total), offset);
  vst1q_f32(sums, vfmaq_n_f32(vld1q_f32(sums), vcvtq_f32_s32(sum), step));
}

void add_bundle(const uint8_t* codes, int64_t stride, int64_t lookups, const uint8_t* tables,
                float step, float* sums) {
  ByteSums low[4], high[4];
  sum_plane(codes, stride, lookups, tables, low);
  sum_plane(codes, stride, lookups, tables + kLookupEntries, high);
  const int32x4_t offset = vdupq_n_s32(static_cast<int32_t>(lookups) * kLookupZero);
  const auto add = [&](uint16x8_t l, uint16x8_t h, float* to) {
    add_rows(vget_low_u16(l), vget_low_u16(h), offset, step, to);
    add_rows(vget_high_u16(l), vget_high_u16(h), offset, step, to + 4);
  };
  for (int i = 0; i < 4; ++i) {  // even bytes are rows 0..31, odd ones rows 32..63
    add(low[i].even(), high[i].even(), sums + 8 * i);
    add(low[i].odd, high[i].odd, sums + 32 + 8 * i);
  }
}

void add_lookups(const LookupLayout& w, int64_t set, const uint8_t* tables, float step,
                 float* sums) {
  const int64_t lookups = set_count(w, set) * w.num_codebooks;
  const uint8_t* codes = w.codes + set * w.set_groups * w.num_codebooks * w.bundles * kLookupRows;
  for (int64_t b = 0; b < w.bundles; ++b) {
    // Two bundles lie side by side, the last one alone where their number is odd.
    const bool alone = b == w.bundles - 1 && b % 2 == 0;
    const uint8_t* first = codes + (b / 2 * 2 * lookups + b % 2) * kLookupRows;
    add_bundle(first, alone ? kLookupRows : 2 * kLookupRows, lookups, tables, step,
               sums + b * kLookupRows);
  }
}

}  // namespace

void fill_neon(AdditiveLookupKernels& kernels) {
  kernels = {true, LookupForm::planes, build_tables, add_lookups};
}

}  // namespace bitsmith
