#include "format/quantized_tensor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/half.h"
#include "base/random.h"
#include "format/bit_packing.h"
#include "format/kinds/hadamard_matrix.h"

namespace bitsmith {
namespace {

constexpr int64_t kRows = 5, kColumns = 48;
constexpr const char* kSpecs[] = {"int1g8",
                                  "int2g16-z",
                                  "int3g0",
                                  "int4g48",
                                  "int5g8-z",
                                  "int8g24",
                                  "aq1x16g8",
                                  "aq2x8g8",
                                  "aq3x8g4",
                                  "aq2x5g16",
                                  "aq1x12g1",
                                  "aq8x1g48",
                                  "aq1x16g16",
                                  "aq2x5g16-s16x3",
                                  "gvq2d2b-n64",
                                  "gvq1d3b-n48-s8-c16",
                                  "gvq4d0.75b-n200-t24-s12",
                                  "gvq1d2b-n48-r2",
                                  "gvq2d1.5b-n96-s2",
                                  "e8p",
                                  "e8p3",
                                  "e8p4"};

// Every bit random, then scales and codebooks made finite.
QuantizedTensor random_tensor(const std::string& name, Random& random) {
  const QuantizedTensor tensor = allocate_quantized(parse_representation(name), kRows, kColumns);
  for (const TensorView& part : tensor.parts) {
    const auto bytes = mutable_part(tensor, part.name);
    if (part.dtype == DType::F16) {
      for (size_t i = 0; i < bytes.size(); i += 2) {
        const uint16_t value = float_to_fp16(static_cast<float>(random.normal()));
        std::memcpy(&bytes[i], &value, 2);
      }
    } else {
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(256));
    }
  }
  return tensor;
}

std::vector<float> half_values(const TensorView& part) {
  std::vector<float> values(static_cast<size_t>(element_count(part.shape)));
  decode_to_float(part.dtype, part.bytes, values);
  return values;
}

float slow_gvq_weight(const QuantizedTensor& tensor, const GvqSpec& spec, int64_t row,
                      int64_t column) {
  const GvqLayout layout = gvq_layout(spec, kRows, kColumns);
  const auto bits_at = [](const TensorView& part, int64_t first_byte, int64_t index, int nbits) {
    int code = 0;
    for (int bit = 0; bit < nbits; ++bit) {
      const int64_t at = index * nbits + bit;
      code |=
          (std::to_integer<int>(part.bytes[static_cast<size_t>(first_byte + at / 8)]) >> (at % 8) &
           1)
          << bit;
    }
    return code;
  };
  const int64_t strip = row / layout.tile_rows, column_group = column / layout.tile_columns;
  const int64_t tile = strip * layout.column_groups + column_group;
  // Tiles before this one in the file: whole strips, then this strip's groups.
  const int64_t height = std::min(layout.tile_rows, kRows - strip * layout.tile_rows);
  const int64_t tile_rows = strip * layout.tile_rows * layout.column_groups +
                            column_group * height + row % layout.tile_rows;
  const TensorView& codes = tensor.part("codes");
  const int code = bits_at(codes, tile_rows * codes.shape[1],
                           column % layout.tile_columns / spec.vector_size, spec.index_bits);
  const TensorView& books = tensor.part("codebooks");
  const int64_t entries = books.shape[2];
  const auto value = [&](int64_t entry, int64_t t) {
    const int64_t at = (tile * entries + entry) * spec.vector_size + t;
    if (spec.fp16_codebooks) return half_values(books)[static_cast<size_t>(at)];
    return half_values(tensor.part("codebook_scales"))[static_cast<size_t>(tile)] *
           static_cast<float>(std::to_integer<int8_t>(books.bytes[static_cast<size_t>(at)]));
  };
  float weight = 0;
  if (spec.rank == 0) {
    weight = value(code, column % spec.vector_size);
  } else {
    const auto basis = half_values(tensor.part("codebook_basis"));
    for (int64_t k = 0; k < spec.rank; ++k) {
      weight += value(k, 0) * basis[static_cast<size_t>(k * spec.centroids() + code)];
    }
  }
  if (spec.scale_block == 0) return weight;
  const TensorView& scales = tensor.part("block_scales");
  const auto grid = half_values(tensor.part("block_scale_grid"));
  const int scale = bits_at(scales, row * scales.shape[1], column / spec.scale_block, 4);
  return weight * std::exp2(grid[static_cast<size_t>(2 * tile)] +
                            static_cast<float>(scale) * grid[static_cast<size_t>(2 * tile + 1)]);
}

float slow_e8p_coordinate(int code, int64_t t) {
  const unsigned signs = static_cast<unsigned>(code) >> 7 & 255;
  const int minus = t < 7 ? code >> (8 + t) & 1 : std::popcount(signs) % 2;
  const float q = 0.5f * static_cast<float>(e8p_patterns()[code & 255][t]);
  return (minus != 0 ? -q : q) + (code >> 15 != 0 ? -0.25f : 0.25f);
}

// One weight from the formulas of docs/format.md, bit by bit.
float slow_weight(const QuantizedTensor& tensor, int64_t row, int64_t column) {
  const auto code_at = [&](const char* name, int64_t index, int nbits) {
    const TensorView& part = tensor.part(name);
    const auto row_bytes = static_cast<int64_t>(part.bytes.size()) / kRows;
    int code = 0;
    for (int bit = 0; bit < nbits; ++bit) {
      const int64_t at = index * nbits + bit;
      const auto byte = part.bytes[static_cast<size_t>(row * row_bytes + at / 8)];
      code |= (std::to_integer<int>(byte) >> (at % 8) & 1) << bit;
    }
    return code;
  };
  if (const auto* spec = std::get_if<GvqSpec>(&tensor.spec.terms.front())) {
    return slow_gvq_weight(tensor, *spec, row, column);
  }
  const std::vector<float> scales = half_values(tensor.part("scales"));
  if (const auto* spec = std::get_if<E8pSpec>(&tensor.spec.terms.front())) {
    const int64_t t = column % 8;
    const float weight = scales[static_cast<size_t>(row * spec->stages())] *
                         slow_e8p_coordinate(code_at("codes", column / 8, 16), t);
    if (spec->bits == 2) return weight;
    const int code = code_at("residual_codes", column / 8, spec->bits == 3 ? 8 : 16);
    const float point = spec->bits == 3 ? 0.5f * static_cast<float>(e8_short_vectors()[code][t])
                                        : slow_e8p_coordinate(code, t);
    return weight + scales[static_cast<size_t>(row * 2 + 1)] * point;
  }
  if (const auto* spec = std::get_if<UniformSpec>(&tensor.spec.terms.front())) {
    const int64_t size = spec->group_size > 0 ? spec->group_size : kColumns;
    const int64_t group = column / size;
    const int zero =
        spec->zero_points ? code_at("zeros", group, spec->nbits) : 1 << (spec->nbits - 1);
    return scales[static_cast<size_t>(row * (kColumns / size) + group)] *
           static_cast<float>(code_at("codes", column, spec->nbits) - zero);
  }
  const auto& spec = tensor.term<AdditiveSpec>();
  const std::vector<float> vectors = half_values(tensor.part("codebooks"));
  float sum = 0;
  for (int m = 0; m < spec.num_codebooks; ++m) {
    const int64_t place = column / spec.in_group_size * spec.num_codebooks + m;
    const int code = code_at("codes", place, spec.nbits_per_codebook);
    const int64_t entry = (int64_t{m} << spec.nbits_per_codebook) + code;
    sum += vectors[static_cast<size_t>(entry * spec.in_group_size + column % spec.in_group_size)];
  }
  float scale = scales[static_cast<size_t>(row)];
  if (spec.scale_bits > 0) {
    const std::vector<float> values = half_values(tensor.part("group_scale_values"));
    scale *= values[code_at("group_scales", column / spec.in_group_size, spec.scale_bits)];
  }
  return scale * sum;
}

TEST(QuantizedTensor, DecodeFollowsTheFormat) {
  Random random(2);
  for (const char* name : kSpecs) {
    const QuantizedTensor tensor = random_tensor(name, random);
    std::vector<float> rows(3 * kColumns);
    decode_rows(tensor, 1, 3, rows);
    for (int64_t row = 0; row < 3; ++row) {
      for (int64_t column = 0; column < kColumns; ++column) {
        ASSERT_EQ(rows[static_cast<size_t>(row * kColumns + column)],
                  slow_weight(tensor, 1 + row, column))
            << name << " at " << row << ", " << column;
      }
    }
  }
}

TEST(QuantizedTensor, ASumDecodesToTheSumOfItsTerms) {
  Random random(6);
  const QuantizedTensor base = random_tensor("int3g16", random);
  const QuantizedTensor sum =
      allocate_quantized(parse_representation("int3g16+out2%+lr2"), kRows, kColumns);
  for (const TensorView& part : base.parts) {
    std::ranges::copy(part.bytes, mutable_part(sum, part.name).begin());
  }
  const int64_t count = sum.term<SparseSpec>().count;
  ASSERT_EQ(count, 5);  // of 240 weights
  write_sparse(sum, {{0, 2, 2, 3, 3, 5}, {0, 47, 20, 3, 4}, {1.5f, -2.0f, 0.25f, 8.0f, -1.0f}});
  std::vector<float> left, right;
  for (const char* name : {"low_rank_left", "low_rank_right"}) {
    const auto bytes = mutable_part(sum, name);
    for (size_t i = 0; i < bytes.size(); i += 2) {
      const uint16_t value = float_to_fp16(static_cast<float>(random.normal()));
      std::memcpy(&bytes[i], &value, 2);
    }
  }
  left = half_values(sum.part("low_rank_left"));
  right = half_values(sum.part("low_rank_right"));
  verify(sum, "x");
  std::vector<float> rows(3 * kColumns), base_rows(3 * kColumns);
  decode_rows(sum, 2, 3, rows);
  decode_rows(base, 2, 3, base_rows);
  for (int64_t row = 2; row < 5; ++row) {
    for (int64_t column = 0; column < kColumns; ++column) {
      float expected = base_rows[(row - 2) * kColumns + column];
      float outlier = 0;
      if (row == 2 && column == 20) outlier = 0.25f;
      if (row == 4 && column == 3) outlier = 8.0f;
      if (row == 4 && column == 4) outlier = -1.0f;
      expected += outlier;
      float product = 0;
      for (int k = 0; k < 2; ++k) product += left[row * 2 + k] * right[k * kColumns + column];
      expected += product;
      ASSERT_EQ(rows[(row - 2) * kColumns + column], expected) << row << ", " << column;
    }
  }
}

// Against products with the matrix itself: a small one times Sylvester's, (-1)^(bits that i and j
// share).
TEST(QuantizedTensor, ARotatedMatrixDecodesToTheProductOfThree) {
  Random random(8);
  for (const char* name : {"had-in8:int3g16", "had-out2:int3g16", "had-in16-out2:int3g16+lr1",
                           "had-in48-out12:int3g16", "had-real-in24-out4:int3g16"}) {
    const int64_t rows = 12;
    const QuantizedTensor tensor = allocate_quantized(parse_representation(name), rows, kColumns);
    for (const TensorView& part : tensor.parts) {
      const auto bytes = mutable_part(tensor, part.name);
      for (std::byte& b : bytes) b = static_cast<std::byte>(random.below(256));
      for (size_t i = 0; part.dtype == DType::F16 && i < bytes.size(); i += 2) {
        const uint16_t value = float_to_fp16(static_cast<float>(random.normal()));
        std::memcpy(&bytes[i], &value, 2);
      }
    }
    QuantizedTensor plain = tensor;
    plain.spec.transform.reset();
    std::vector<float> code_space(static_cast<size_t>(rows * kColumns)), decoded(code_space.size());
    decode_rows(plain, 0, rows, code_space);
    for (int64_t row = 0; row < rows; ++row) {  // one at a time: blocks are decoded whole
      decode_rows(tensor, row, 1, row_of(decoded, row, kColumns));
    }
    const auto rotation = [](const std::vector<float>& signs, int64_t block, int64_t i, int64_t j) {
      if (signs.empty()) return i == j ? 1.0 : 0.0;
      if (i / block != j / block) return 0.0;
      const int64_t m = hadamard_factor(block), power = block / m;
      double h = std::popcount(static_cast<uint64_t>(i % power & j % power)) % 2 ? -1 : 1;
      if (m > 1) {
        const int64_t a = i % block / power, b = j % block / power;
        h *= hadamard_matrix(m)[static_cast<size_t>(a * m + b)];
      }
      return h / std::sqrt(static_cast<double>(block)) * signs[static_cast<size_t>(j)];
    };
    const auto in_signs = input_signs(tensor), out_signs = output_signs(tensor);
    for (int64_t o = 0; o < rows; ++o) {
      for (int64_t i = 0; i < kColumns; ++i) {
        double expected = 0;
        for (int64_t p = 0; p < rows; ++p) {
          for (int64_t q = 0; q < kColumns; ++q) {
            expected += rotation(out_signs, tensor.spec.transform->out_block, p, o) *
                        code_space[static_cast<size_t>(p * kColumns + q)] *
                        rotation(in_signs, tensor.spec.transform->in_block, q, i);
          }
        }
        ASSERT_NEAR(decoded[static_cast<size_t>(o * kColumns + i)], expected, 1e-4) << name;
      }
    }
  }
}

TEST(QuantizedTensor, KeptRowsAreAddedAndChecked) {
  Random random(9);
  const QuantizedTensor tensor = random_tensor("int4g48+rows2", random);
  const std::vector<int64_t> kept = {1, 4};
  write_kept_rows(tensor, kept);
  verify(tensor, "x");
  EXPECT_EQ(read_kept_rows(tensor), kept);
  QuantizedTensor coded = tensor;
  coded.spec.terms.pop_back();
  std::vector<float> all(kRows * kColumns), plain(kRows * kColumns), row(kColumns);
  decode_rows(tensor, 0, kRows, all);
  decode_rows(coded, 0, kRows, plain);
  const std::vector<float> values = half_values(tensor.part("kept_values"));
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t i = 0; i < kColumns; ++i) {
      const float more = r == 1 ? values[i] : r == 4 ? values[kColumns + i] : 0;
      ASSERT_EQ(all[r * kColumns + i], plain[r * kColumns + i] + more) << r << ", " << i;
    }
    decode_rows(tensor, r, 1, row);
    EXPECT_TRUE(std::equal(row.begin(), row.end(), all.begin() + r * kColumns)) << r;
  }
  for (const std::vector<int64_t>& bad :
       {std::vector<int64_t>{-1, 4}, {1, kRows}, {2, 2}, {3, 1}}) {
    write_kept_rows(tensor, bad);
    EXPECT_THROW(verify(tensor, "x"), Error);
  }
  EXPECT_THROW(allocate_quantized(parse_representation("int4g48+rows6"), kRows, kColumns),
               UsageError);
}

TEST(QuantizedTensor, PlacesOfOutliersAreChecked) {
  const auto made = [](const SparseEntries& entries) {
    const QuantizedTensor tensor =
        allocate_quantized(parse_representation("int4g48+out3w"), kRows, kColumns);
    write_sparse(tensor, entries);
    return tensor;
  };
  const SparseEntries good{{0, 0, 2, 2, 2, 3}, {1, 47, 0}, {1, 2, 3}};
  EXPECT_NO_THROW(verify(made(good), "x"));
  const SparseEntries back = read_sparse(made(good));
  EXPECT_EQ(back.row_starts, good.row_starts);
  EXPECT_EQ(back.columns, good.columns);
  EXPECT_EQ(back.values, good.values);
  for (const SparseEntries& bad :
       {SparseEntries{{0, 0, 2, 2, 2, 2}, {1, 47, 0}, {1, 2, 3}},     // one value too many
        SparseEntries{{0, 0, 2, 2, 2, 4}, {1, 47, 0}, {1, 2, 3}},     // too few
        SparseEntries{{0, 0, 2, 2, 2, 3}, {1, 48, 0}, {1, 2, 3}},     // beyond the row
        SparseEntries{{0, 0, 2, 2, 2, 3}, {2, 2, 0}, {1, 2, 3}},      // twice
        SparseEntries{{0, 0, 2, 2, 2, 3}, {47, 1, 0}, {1, 2, 3}}}) {  // not rising
    EXPECT_THROW(verify(made(bad), "x"), Error);
  }
}

TEST(QuantizedTensor, CodesComeBackAsTheyWereSet) {
  Random random(3);
  for (const char* name : kSpecs) {
    const QuantizedTensor tensor = random_tensor(name, random);
    std::vector<std::vector<uint16_t>> rows;
    for (int64_t row = 0; row < kRows; ++row) rows.push_back(row_codes(tensor, row));
    const QuantizedTensor copy = allocate_quantized(tensor.spec, kRows, kColumns);
    for (int64_t row = 0; row < kRows; ++row) {
      set_row_codes(copy, row, rows[static_cast<size_t>(row)]);
      EXPECT_EQ(row_codes(copy, row), rows[static_cast<size_t>(row)]) << name;
    }
  }
}

TEST(QuantizedTensor, EightAndSixteenBitCodesAreHuggingFacesWrappedIntegers) {
  const QuantizedTensor tensor = allocate_quantized(parse_representation("aq2x8g8"), 1, 8);
  set_row_codes(tensor, 0, std::vector<uint16_t>{5, 200});
  EXPECT_EQ(tensor.part("codes").dtype, DType::I8);
  EXPECT_EQ(tensor.part("codes").shape, (std::vector<int64_t>{1, 1, 2}));
  EXPECT_EQ(static_cast<int8_t>(tensor.part("codes").bytes[0]), 5);
  EXPECT_EQ(static_cast<int8_t>(tensor.part("codes").bytes[1]), 200 - 256);

  const QuantizedTensor wide = allocate_quantized(parse_representation("aq1x16g8"), 1, 8);
  set_row_codes(wide, 0, std::vector<uint16_t>{40000});
  int16_t stored;
  std::memcpy(&stored, wide.part("codes").bytes.data(), 2);
  EXPECT_EQ(wide.part("codes").dtype, DType::I16);
  EXPECT_EQ(stored, 40000 - 65536);
}

TEST(QuantizedTensor, VerifyFindsWrongPartsAndValues) {
  Random random(4);
  for (const char* name : kSpecs) {
    const QuantizedTensor good = random_tensor(name, random);
    EXPECT_NO_THROW(verify(good, "x"));
    for (size_t i = 0; i < good.parts.size(); ++i) {
      QuantizedTensor bad = good;
      bad.parts[i].shape[0] += 1;
      EXPECT_THROW(verify(bad, "x"), Error);
      bad = good;
      bad.parts[i].dtype = DType::BF16;
      EXPECT_THROW(verify(bad, "x"), Error);
      bad = good;
      bad.parts[i].bytes = bad.parts[i].bytes.first(bad.parts[i].bytes.size() - 1);
      EXPECT_THROW(verify(bad, "x"), Error);
      bad = good;
      bad.parts.erase(bad.parts.begin() + static_cast<ptrdiff_t>(i));
      EXPECT_THROW(verify(bad, "x"), Error);
    }
    for (const uint16_t value : {0x7c00, 0xfc00, 0x7e01}) {  // infinities and a NaN
      const QuantizedTensor bad = random_tensor(name, random);
      for (const TensorView& part : bad.parts) {
        if (part.dtype != DType::F16) continue;
        const auto bytes = mutable_part(bad, part.name);
        std::memcpy(&bytes[bytes.size() - 2], &value, 2);
        break;
      }
      EXPECT_THROW(verify(bad, "x"), Error);
    }
  }
}

TEST(QuantizedTensor, VerifyFindsBlockScalesBeyondReason) {
  Random random(5);
  const QuantizedTensor bad = random_tensor("gvq2d1.5b-n96-s2", random);
  const uint16_t huge = float_to_fp16(1000.0f);
  std::memcpy(mutable_part(bad, "block_scale_grid").data(), &huge, 2);
  EXPECT_THROW(verify(bad, "x"), Error);
}

}  // namespace
}  // namespace bitsmith
