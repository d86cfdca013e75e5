// Every kind of matrix against the reference decode of format/, for one token and for many, and for
// any number of threads.
#include "runtime/matrices/weight_matrix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/half.h"
#include "base/random.h"
#include "format/random_tensor.h"
#include "kernels/additive_lookup.h"

namespace bitsmith {
namespace {

std::vector<float> normal_values(int64_t count, Random& random) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = static_cast<float>(random.normal());
  return values;
}

void fill_fp16(std::span<std::byte> part, double mean, double deviation, Random& random) {
  for (size_t i = 0; i < part.size(); i += 2) {
    const uint16_t value = float_to_fp16(static_cast<float>(mean + deviation * random.normal()));
    std::memcpy(part.data() + i, &value, 2);
  }
}

int code_bits(const RepresentationSpec& spec) {
  if (const auto* uniform = std::get_if<UniformSpec>(&spec.terms.front())) return uniform->nbits;
  if (const auto* gvq = std::get_if<GvqSpec>(&spec.terms.front())) return gvq->index_bits;
  if (const auto* e8p = std::get_if<E8pSpec>(&spec.terms.front())) return e8p->code_bits(0);
  return std::get<AdditiveSpec>(spec.terms.front()).nbits_per_codebook;
}

// Random codes over their whole range, scales of both signs.
QuantizedTensor kernel_tensor(const RepresentationSpec& spec, int64_t out, int64_t in,
                              Random& random) {
  const QuantizedTensor tensor = allocate_quantized(spec, out, in);
  for (const TensorView& part : tensor.parts) {
    const auto bytes = mutable_part(tensor, part.name);
    if (part.name == "codebooks" && part.dtype == DType::F16) {
      fill_fp16(bytes, 0, 1, random);
    } else if (part.name == "codebook_basis") {
      fill_fp16(bytes, 0, 1, random);
    } else if (part.name == "block_scale_grid") {
      fill_fp16(bytes, 0.1, 0.1, random);
    } else if (part.name == "scales" || part.name == "codebook_scales") {
      fill_fp16(bytes, 0.02, 0.02, random);
    } else if (part.name.starts_with("low_rank")) {
      fill_fp16(bytes, 0, 0.3, random);
    } else if (part.name == "outlier_counts") {
      tensor.term<SparseSpec>().fill_random(tensor, random);
    } else if (part.name == "kept_rows") {
      tensor.term<RowsSpec>().fill_random(tensor, random);
    } else if (part.name == "kept_values") {
      fill_fp16(bytes, 0, 0.3, random);
    } else if (part.name != "codes" && !part.name.starts_with("outlier")) {
      for (std::byte& b : bytes) b = static_cast<std::byte>(random.below(256));
    }
  }
  for (int64_t row = 0; row < out; ++row) {
    std::vector<uint16_t> codes = row_codes(tensor, row);
    const int nbits = code_bits(spec);
    for (uint16_t& code : codes) code = static_cast<uint16_t>(random.below(1u << nbits));
    set_row_codes(tensor, row, codes);
  }
  return tensor;
}

// |y - w x| over all tokens, relative to the |w x| that is expected of independent w and x, which
// few outputs may be far from; w [out, in], x [tokens, in].
double relative_error(const std::vector<float>& w, const std::vector<float>& x,
                      const std::vector<float>& y, int64_t out, int64_t in) {
  double error = 0, norm = 0;
  const int64_t tokens = static_cast<int64_t>(x.size()) / in;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t o = 0; o < out; ++o) {
      double exact = 0, norm_w = 0, norm_x = 0;
      for (int64_t i = 0; i < in; ++i) {
        const double a = w[o * in + i], b = x[t * in + i];
        exact += a * b;
        norm_w += a * a;
        norm_x += b * b;
      }
      error += std::pow(y[t * out + o] - exact, 2);
      norm += norm_w * norm_x / static_cast<double>(in);
    }
  }
  return std::sqrt(error / norm);
}

// Largest relative errors.
struct Errors {
  double single, int8;
};

void expect_multiplies(WeightMatrix& matrix, const std::vector<float>& w, const Errors& errors,
                       const std::string& what) {
  SCOPED_TRACE(what + " [" + std::to_string(matrix.out_features) + ", " +
               std::to_string(matrix.in_features) + "]");
  const int64_t out = matrix.out_features, in = matrix.in_features;
  Random random(7);
  ThreadPool one(1), three(3);
  // Float sums of n terms err by about sqrt(n) eps.
  const double of_sums = std::max(1e-6, 6e-8 * std::sqrt(static_cast<double>(in)));
  for (const auto& [products, error] :
       {std::pair{Products::kSingle, errors.single}, std::pair{Products::kInt8, errors.int8},
        std::pair{Products::kShared, std::max(errors.single, errors.int8)},
        std::pair{Products::kExact, of_sums}}) {
    SCOPED_TRACE("products " + std::to_string(static_cast<int>(products)));
    for (const int64_t tokens : {1, 2, 13}) {
      const std::vector<float> x = normal_values(tokens * in, random);
      constexpr float kGuard = 12345;
      std::vector<float> y(static_cast<size_t>(tokens * out + 1), kGuard), again = y;
      matrix.multiply(products, x.data(), tokens, y.data(), one);
      matrix.multiply(products, x.data(), tokens, again.data(), three);
      EXPECT_EQ(y, again) << "threads change the result";
      EXPECT_EQ(y.back(), kGuard);
      EXPECT_LT(relative_error(w, x, y, out, in), std::max(error, of_sums)) << tokens;
      for (const int64_t last : {1, 2}) {  // the last tokens alone
        if (last >= tokens) continue;
        matrix.multiply(products, x.data() + (tokens - last) * in, last, again.data(), three);
        EXPECT_TRUE(std::equal(y.end() - 1 - last * out, y.end() - 1, again.begin()))
            << "tokens influence each other";
      }
    }
  }
  std::vector<float> row(static_cast<size_t>(in));
  for (const int64_t r : {int64_t{0}, out / 2, out - 1}) {
    matrix.decode_row(r, row.data());
    EXPECT_EQ(row, std::vector<float>(w.begin() + r * in, w.begin() + (r + 1) * in));
  }
  EXPECT_GT(matrix.bytes(), 0u);
}

// int8 activations with a scale per 32 normal values: rounding steps of max / 127, where the
// maximum of 32 is about 2.1 standard deviations, give 2.1 / 127 / sqrt(12) = 0.5 %.
constexpr double kInt8Inputs = 0.01;

void expect_quantized(const std::string& representation, int64_t out, int64_t in,
                      double one_token_error) {
  Random random(out * 1000 + in);
  const QuantizedTensor tensor =
      kernel_tensor(parse_representation(representation), out, in, random);
  std::vector<float> w(static_cast<size_t>(out * in));
  decode_rows(tensor, 0, out, w);
  const auto matrix = make_quantized_matrix(tensor);
  // Where the kind has no int8 numbers the weights are rounded like the activations.
  expect_multiplies(*matrix, w, {one_token_error, 2 * std::max(one_token_error, kInt8Inputs)},
                    representation);
}

TEST(WeightMatrix, Dense) {
  Random random(1);
  for (const auto& [out, in] : {std::pair<int64_t, int64_t>{1, 1}, {33, 47}, {64, 576}, {70, 33}}) {
    for (const bool bf16 : {false, true}) {
      std::vector<float> w = normal_values(out * in, random);
      if (bf16) {
        for (float& v : w) v = bf16_to_float(float_to_bf16(v));
      }
      const auto matrix = make_dense_matrix(
          out, in, bf16, [&, in = in](int64_t first, int64_t count, std::span<float> rows) {
            std::copy_n(w.begin() + first * in, count * in, rows.begin());
          });
      expect_multiplies(*matrix, w, {1e-6, 1e-6}, bf16 ? "bf16" : "f32");
    }
  }
}

TEST(WeightMatrix, UniformEveryBits) {
  for (int nbits = 1; nbits <= 8; ++nbits) {
    expect_quantized("int" + std::to_string(nbits) + "g64", 48, 192, kInt8Inputs);
    expect_quantized("int" + std::to_string(nbits) + "g32-z", 37, 96, kInt8Inputs);
  }
}

TEST(WeightMatrix, UniformGroupsThatAreNotUnits) {
  for (const int group : {0, 4, 8, 16, 36, 48, 72}) {
    for (const char* zeros : {"", "-z"}) {
      expect_quantized("int4g" + std::to_string(group) + zeros, 33, 576, kInt8Inputs);
    }
  }
  expect_quantized("int8g0", 20, 100, kInt8Inputs);  // the last unit is not full
  expect_quantized("int3g0-z", 20, 35, kInt8Inputs);
  for (const int group : {1, 2, 3, 18}) {  // no run of four: exact weights, float32 inputs
    expect_quantized("int3g" + std::to_string(group) + "-z", 17, 36, 1e-6);
  }
}

// Tables of 16-bit integers: far below 1e-3 of the norm.
TEST(WeightMatrix, Additive) {
  for (const char* representation :
       {"aq1x8g8", "aq2x8g8", "aq3x8g8", "aq8x8g8", "aq2x5g4", "aq1x3g2", "aq2x5g8-s8x3",
        "aq2x8g16", "aq2x8g1", "aq1x6g32"}) {
    expect_quantized(representation, 64, 96, 1e-3);
    expect_quantized(representation, 131, 608, 1e-3);
    expect_quantized(representation, 5, 32, 1e-3);
  }
}

// More rows than are looked up at a time, with an odd bundle at the end.
TEST(WeightMatrix, AdditiveManyRows) {
  expect_quantized("aq2x8g8", 258 * 64 - 7, 64, 1e-3);
  expect_quantized("aq3x8g8", 257 * 64, 72, 1e-3);  // the last table set is not full
}

// Rows around the edges of bundles, and of the blocks that threads share at the end.
TEST(WeightMatrix, AdditiveRowsAroundEdges) {
  for (const int64_t rows : {1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 255, 257, 511, 513, 576}) {
    expect_quantized("aq2x8g8", rows, 136, 1e-3);  // two table sets and a group
    expect_quantized("aq1x8g8", rows, 8, 1e-3);
  }
}

// Each output's error is at most what rounding does to its entries: the entry's own, 1/2, and
// sqrt(G) / 4 each by the inputs' and the centroids'.
void expect_lookup_bound(const std::string& representation, float outlier) {
  constexpr int64_t kOut = 70, kIn = 192, kTokens = 3;
  SCOPED_TRACE(testing::Message() << representation << ", outliers " << outlier);
  Random random(8);
  ThreadPool pool(1);
  const auto tensor = kernel_tensor(parse_representation(representation), kOut, kIn, random);
  const auto& spec = tensor.term<AdditiveSpec>();
  const int64_t size = spec.in_group_size, set = kLookupSet / spec.num_codebooks * size;
  std::vector<float> w(kOut * kIn), x = normal_values(kTokens * kIn, random), y(kTokens * kOut);
  decode_rows(tensor, 0, kOut, w);
  for (float& v : x) v *= random.below(30) == 0 ? outlier : 1.0f;
  std::fill_n(x.begin(), kIn, 1.0f);  // all entries of a sign add up
  make_quantized_matrix(tensor)->multiply(Products::kSingle, x.data(), kTokens, y.data(), pool);

  const auto length = [&](const auto& value_of) {
    double square = 0;
    for (int64_t i = 0; i < size; ++i) square += std::pow(double{value_of(i)}, 2);
    return std::sqrt(square);
  };
  const auto centroids = tensor.part("codebooks").bytes, scales = tensor.part("scales").bytes;
  double longest = 0;
  for (int64_t c = 0; c < spec.num_codebooks << spec.nbits_per_codebook; ++c) {
    longest =
        std::max(longest, length([&](int64_t i) { return load_fp16(centroids, c * size + i); }));
  }
  for (int64_t t = 0; t < kTokens; ++t) {
    double bound = 0;  // of a row of scale 1
    for (int64_t first = 0; first < kIn; first += set) {
      const int64_t end = std::min(first + set, kIn);
      double norm = 0;
      for (int64_t j = first; j < end; j += size) {
        norm = std::max(norm, length([&](int64_t i) { return x[t * kIn + j + i]; }));
      }
      const double step = norm * longest * 65536 / (kLookupNorm * kLookupNorm);
      const auto entries = static_cast<double>((end - first) / size * spec.num_codebooks);
      bound += entries * step * (0.5 + 0.5 * std::sqrt(static_cast<double>(size)));
    }
    for (int64_t o = 0; o < kOut; ++o) {
      double exact = 0, magnitude = 0;
      for (int64_t i = 0; i < kIn; ++i) {
        const double product = double{w[o * kIn + i]} * x[t * kIn + i];
        exact += product;
        magnitude += std::abs(product);
      }
      const double scale = std::abs(load_fp16(scales, o)), of_sums = 6e-8 * kIn * magnitude;
      EXPECT_LE(std::abs(y[t * kOut + o] - exact), 1.001 * scale * bound + of_sums)
          << t << ", " << o;
    }
  }
}

TEST(WeightMatrix, AdditiveLookupRoundingIsBounded) {
  for (const char* representation :
       {"aq1x8g8", "aq2x8g8", "aq3x8g8", "aq4x8g8", "aq2x5g4", "aq2x8g1", "aq1x6g32"}) {
    for (const float outlier : {1.0f, 1000.0f, 1e6f}) expect_lookup_bound(representation, outlier);
  }
}

TEST(WeightMatrix, AdditiveManyBits) {
  for (const char* representation :
       {"aq1x9g8", "aq2x12g8", "aq1x16g8", "aq1x10g4", "aq2x10g3", "aq1x9g4-s4x2"}) {
    expect_quantized(representation, 70, 96, 1e-6);
  }
}

TEST(WeightMatrix, Sums) {
  for (const char* representation : {"int8g32+out2%", "int4g0+lr3", "aq1x9g8+out0.5%+lr4",
                                     "gvq2d2b-n512+out1%", "int4g32+rows5", "aq2x8g8+rows1"}) {
    expect_quantized(representation, 70, 96, kInt8Inputs);
  }
}

TEST(WeightMatrix, Rotated) {
  for (const char* representation :
       {"had:int8g32", "had-in:aq1x9g8", "had-out2:gvq2d2b-n512", "had-in8-out:int4g0+lr3"}) {
    expect_quantized(representation, 70, 96, kInt8Inputs);
    expect_quantized(representation, 64, 4096, kInt8Inputs);  // more than one task
  }
}

TEST(WeightMatrix, InputsThatAreRotatedAlready) {
  Random random(4);
  ThreadPool pool(2);
  const auto tensor = kernel_tensor(parse_representation("had:int4g32"), 64, 96, random);
  const auto matrix = make_quantized_matrix(tensor);
  const std::vector<float> x = normal_values(3 * 96, random);
  std::vector<float> rotated(x.size()), y(3 * 64), again(3 * 64);
  ASSERT_NE(matrix->input_rotation(), nullptr);
  matrix->input_rotation()->apply(x.data(), 3, rotated.data(), pool);
  for (const Products products : {Products::kSingle, Products::kInt8, Products::kExact}) {
    matrix->multiply(products, x.data(), 3, y.data(), pool);
    matrix->multiply_rotated(products, rotated.data(), 3, again.data(), pool);
    EXPECT_EQ(y, again);
  }
}

// int8 codebooks, in integers.
TEST(WeightMatrix, GvqLookup) {
  for (const char* representation :
       {"gvq1d2b", "gvq1d3b-n512", "gvq1d4b-n300-s8", "gvq1d4b-n1024-s96", "gvq1d8b-n4096",
        "gvq2d1b-n400", "gvq2d2b-n1024", "gvq2d2b-n2048-s16", "gvq2d2.5b-n1500", "gvq2d3b-n3000",
        "gvq2d3b-n3000-s32", "gvq2d4b-n8000-s32", "gvq4d1b-n1024", "gvq4d1.5b-n2000-g96",
        "gvq4d2b-n8000-s32"}) {
    expect_quantized(representation, 64, 96, kInt8Inputs);
    expect_quantized(representation, 131, 576, kInt8Inputs);
    expect_quantized(representation, 70, 1536, kInt8Inputs);
  }
}

// In bundles of 16 rows where the level has them: tiles whose rows are no multiple of that, panels
// that two strips share.
TEST(WeightMatrix, GvqBundles) {
  for (const char* representation :
       {"gvq1d4b-t256x96", "gvq1d4b-t4x96", "gvq2d2b-t8x96", "gvq4d1b-t4x96", "gvq2d2b-t8x96-s32",
        "gvq1d3b-t64x32-s32", "gvq2d2b-t16x32", "gvq2d2b-t48x96-s32", "gvq2d1.5b-t33x96-s96",
        "gvq2d3b-t31x96-s32", "gvq2d3b-t128x32", "gvq2d2.5b-t64x96", "gvq2d4b-t64x96-s32",
        "gvq2d3.5b-t47x96", "gvq4d1b-t64x32-s32", "gvq4d2b-t128x32-s32", "gvq4d2b-t143x96",
        "gvq4d1.75b-t144x96-s32"}) {
    expect_quantized(representation, 144, 96, kInt8Inputs);
    expect_quantized(representation, 143, 576, kInt8Inputs);
    expect_quantized(representation, 288, 1152, kInt8Inputs);
  }
  expect_quantized("gvq2d3b-t128x256-s64", 256, 512, kInt8Inputs);
  expect_quantized("gvq2d3b-t128x256-s256", 256, 512, kInt8Inputs);
}

// What that does not take.
TEST(WeightMatrix, GvqCodebooks) {
  for (const char* representation :
       {"gvq1d2b-c16", "gvq1d3b-n512-c16", "gvq1d4b-n300-s8-c16", "gvq1d8b-n4096-c16",
        "gvq1d2b-n512-r2", "gvq1d3b-n512-c16-r2", "gvq2d1b-n400-c16", "gvq2d2b-n1024-c16",
        "gvq2d2b-n2048-s16-c16", "gvq2d2.5b-n1500-c16", "gvq2d3b-n3000-c16", "gvq2d3.5b-n3000-s2",
        "gvq2d4b-n4000-s6", "gvq4d1b-n1024-c16", "gvq4d1.5b-n2000-g96-c16", "gvq4d2b-n4000-s32-c16",
        "gvq4d2.25b-n8000"}) {
    expect_quantized(representation, 64, 96, 1e-6);
    expect_quantized(representation, 131, 576, 1e-6);
  }
  expect_quantized("gvq2d5b-n12288", 64, 192, 1e-6);  // codes of more than 8 bits
  expect_quantized("gvq1d2b-n64", 33, 47, 1e-6);      // prime sizes: one column group
}

TEST(WeightMatrix, Lattice) {
  expect_quantized("had:e8p3", 130, 576, kInt8Inputs);
  for (const char* representation : {"e8p", "e8p3", "e8p4"}) {
    expect_quantized(representation, 64, 96, kInt8Inputs);
    expect_quantized(representation, 131, 576, kInt8Inputs);  // the last block is not full
    expect_quantized(representation, 70, 1536, kInt8Inputs);
    expect_quantized(representation, 4, 8, 2 * kInt8Inputs);  // a single code
  }
}

// Bit for bit the one way or the other; of a sum each term its own.
TEST(WeightMatrix, SharedProductsAreInt8WhereThatIsFaster) {
  constexpr int64_t kOut = 70, kIn = 96, kTokens = 5;
  ThreadPool pool(1);
  const auto product = [&](WeightMatrix& matrix, Products products) {
    Random random(9);
    const std::vector<float> x = normal_values(kTokens * kIn, random);
    std::vector<float> y(kTokens * kOut);
    matrix.multiply(products, x.data(), kTokens, y.data(), pool);
    return y;
  };
  for (const char* representation :
       {"int4g32", "gvq2d2b-n512", "e8p", "had:int4g32", "int4g32+rows5", "aq2x8g8", "aq1x9g8",
        "had-in:aq1x9g8", "aq2x8g8+out1%"}) {
    SCOPED_TRACE(representation);
    Random random(5);
    const auto matrix = make_quantized_matrix(
        kernel_tensor(parse_representation(representation), kOut, kIn, random));
    const bool additive = std::string(representation).find("aq") != std::string::npos;
    EXPECT_EQ(matrix->decodes_for_few(), !additive);
    EXPECT_EQ(product(*matrix, Products::kShared),
              product(*matrix, additive ? Products::kSingle : Products::kInt8));
  }
}

// Each output's error is at most what rounding by half a step does to its terms: a step is 1/127 of
// the largest of 32 activations, and, where weights are rounded too, of 32 weights.
void expect_int8_bound(const std::string& representation, bool weights_are_int8) {
  constexpr int64_t kOut = 70, kIn = 192, kTokens = 5, kUnit = 32;
  SCOPED_TRACE(representation);
  Random random(8);
  ThreadPool pool(1);
  const auto tensor = kernel_tensor(parse_representation(representation), kOut, kIn, random);
  std::vector<float> w(kOut * kIn), x = normal_values(kTokens * kIn, random), y(kTokens * kOut);
  decode_rows(tensor, 0, kOut, w);
  for (float& v : x) v *= random.below(30) == 0 ? 1000.0f : 1.0f;  // far worse than in real models
  make_quantized_matrix(tensor)->multiply(Products::kInt8, x.data(), kTokens, y.data(), pool);
  for (int64_t t = 0; t < kTokens; ++t) {
    for (int64_t o = 0; o < kOut; ++o) {
      double exact = 0, magnitude = 0, bound = 0;
      for (int64_t first = 0; first < kIn; first += kUnit) {
        double largest_w = 0, largest_x = 0, sum_w = 0, sum_x = 0;
        for (int64_t i = first; i < first + kUnit; ++i) {
          const double a = w[o * kIn + i], b = x[t * kIn + i];
          exact += a * b;
          magnitude += std::abs(a * b);
          largest_w = std::max(largest_w, std::abs(a));
          largest_x = std::max(largest_x, std::abs(b));
          sum_w += std::abs(a);
          sum_x += std::abs(b);
        }
        const double error_x = largest_x / 254, error_w = weights_are_int8 ? 0 : largest_w / 254;
        bound += error_x * sum_w + error_w * sum_x + kUnit * error_x * error_w;
      }
      const double of_sums = 6e-8 * kIn * magnitude;
      EXPECT_LE(std::abs(y[t * kOut + o] - exact), 1.001 * bound + of_sums) << t << ", " << o;
    }
  }
}

TEST(WeightMatrix, Int8RoundingIsBounded) {
  for (const char* representation :
       {"int4g32", "int3g64-z", "int2g16", "int8g0", "gvq2d2b-n1024", "gvq2d3b-n3000-s32",
        "gvq2d2b-n2048-s16", "gvq4d2b-n8000-s32"}) {
    expect_int8_bound(representation, true);
  }
  for (const char* representation :
       {"aq2x8g8", "aq1x12g8", "aq2x5g8-s8x3", "e8p", "e8p3", "int8g64-z", "gvq2d2b-n1024-c16"}) {
    expect_int8_bound(representation, false);
  }
}

TEST(WeightMatrix, ZeroActivationsGiveZero) {
  Random random(3);
  ThreadPool pool(1);
  for (const char* representation : {"int4g32", "aq2x8g8", "aq1x12g8", "e8p3"}) {
    const auto matrix =
        make_quantized_matrix(kernel_tensor(parse_representation(representation), 64, 64, random));
    const std::vector<float> x(64, 0.0f);
    for (const Products products : {Products::kSingle, Products::kInt8, Products::kExact}) {
      std::vector<float> y(64, 1.0f);
      matrix->multiply(products, x.data(), 1, y.data(), pool);
      EXPECT_EQ(y, x) << representation;
    }
  }
}

}  // namespace
}  // namespace bitsmith
