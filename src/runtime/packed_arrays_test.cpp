// Matrices whose arrays lie in a packed file: the same bits as those that made the arrays, and no
// damage that goes unseen.
#include "runtime/packed_arrays.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/random.h"
#include "checkpoint/test_files.h"
#include "format/random_tensor.h"
#include "kernels/gvq_bundle.h"
#include "kernels/kernel_table.h"
#include "runtime/matrices/weight_matrix.h"

namespace bitsmith {
namespace {

using testing::error_of;
using testing::TestFolder;

// Every kind, with layouts of each kernel, sums and rotations.
constexpr const char* kRepresentations[] = {"int4g32",
                                            "int3g16-z",
                                            "int2g0",
                                            "int8g4-z",
                                            "int5g3",
                                            "aq1x8g8",
                                            "aq2x5g4",
                                            "aq1x12g8",
                                            "aq1x9g4-s4x2",
                                            "aq2x8g8-s8x8",
                                            "gvq1d3b-n512",
                                            "gvq2d2b-n1024",
                                            "gvq2d2b-n2048-s16",
                                            "gvq2d3b-n3000-s32",
                                            "gvq2d3b-t63x96-s32",
                                            "gvq4d2b-t142x96",
                                            "gvq1d4b-t4x96",
                                            "gvq2d3b-n3000-c16",
                                            "gvq2d5b-n12288",
                                            "gvq4d2b-n8000-s32-c16",
                                            "gvq1d2b-n512-r2",
                                            "e8p",
                                            "e8p3",
                                            "e8p4",
                                            "int8g32+out2%",
                                            "int4g0+lr3",
                                            "aq2x8g8+rows5",
                                            "gvq2d2b-n512+out1%+lr2",
                                            "had:int4g32",
                                            "had-in:aq1x9g8+out1%",
                                            "had-real:int4g32",
                                            "had-out2:gvq2d2b-n512+lr1",
                                            "had:e8p3"};
constexpr int64_t kOut = 142, kIn = 96;

QuantizedTensor tensor_of(const std::string& representation) {
  Random random(5);
  return random_tensor(parse_representation(representation), kOut, kIn, random, 0.1);
}

// As a packed file has it: the spec alone.
QuantizedTensor without_parts(const QuantizedTensor& tensor) {
  QuantizedTensor bare;
  bare.spec = tensor.spec;
  bare.out_features = tensor.out_features;
  bare.in_features = tensor.in_features;
  return bare;
}

std::vector<TensorSource> sources(const std::vector<TensorView>& views) {
  return {views.begin(), views.end()};
}

constexpr Products kWays[] = {Products::kSingle, Products::kInt8, Products::kExact};

std::vector<float> product(WeightMatrix& matrix, Products way, int64_t tokens) {
  Random random(6);
  ThreadPool pool(2);
  std::vector<float> x(static_cast<size_t>(tokens * kIn)), y(static_cast<size_t>(tokens * kOut));
  for (float& value : x) value = static_cast<float>(random.normal());
  matrix.multiply(way, x.data(), tokens, y.data(), pool);
  return y;
}

void expect_same(WeightMatrix& a, WeightMatrix& b) {
  for (const Products way : kWays) {
    for (const int64_t tokens : {1, 2, 13})
      EXPECT_EQ(product(a, way, tokens), product(b, way, tokens));
  }
  std::vector<float> row(kIn), other(kIn);
  for (int64_t r = 0; r < kOut; ++r) {
    a.decode_row(r, row.data());
    b.decode_row(r, other.data());
    EXPECT_EQ(row, other) << r;
  }
  EXPECT_EQ(a.bytes(), b.bytes());
}

TEST(PackedArrays, EveryRepresentationBitForBit) {
  const TestFolder folder;
  const auto path = folder.path() / "m.packed";
  for (const char* representation : kRepresentations) {
    SCOPED_TRACE(representation);
    const QuantizedTensor tensor = tensor_of(representation);
    NewArrays made;
    const auto matrix = make_quantized_matrix(tensor, {made, "m"});
    write_packed_file(path, OrderedJson::object(), sources(made.made()), {});
    PackedArrays packed(PackedFile::open(path));
    const auto mapped = make_quantized_matrix(without_parts(tensor), {packed, "m"});
    expect_same(*matrix, *mapped);
  }
}

// Those of the list above that are laid out so where the level has them.
TEST(PackedArrays, SomeMatricesAreInBundles) {
  const struct {
    const char* representation;
    int code_bits, vector_size;
  } cases[] = {{"gvq2d3b-t63x96-s32", 6, 2}, {"gvq4d2b-t142x96", 8, 4}, {"gvq1d4b-t4x96", 4, 1}};
  for (const auto& [representation, code_bits, vector_size] : cases) {
    if (kernels().gvq_bundle.lane_codes(code_bits, vector_size) == 0) continue;
    NewArrays made;
    EXPECT_EQ(make_quantized_matrix(tensor_of(representation), {made, "m"})->kernel(),
              "codebook tiles in bundles of rows")
        << representation;
  }
}

TEST(PackedArrays, DenseMatricesBitForBit) {
  const TestFolder folder;
  const auto path = folder.path() / "m.packed";
  for (const bool bfloat16 : {false, true}) {
    Random random(7);
    NewArrays made;
    const auto matrix = make_dense_matrix(kOut, kIn, bfloat16, {made, "m"},
                                          [&](int64_t, int64_t, std::span<float> out) {
                                            for (float& value : out)
                                              value = static_cast<float>(random.normal());
                                          });
    write_packed_file(path, OrderedJson::object(), sources(made.made()), {});
    PackedArrays packed(PackedFile::open(path));
    EXPECT_EQ(packed.has(std::string("m.") + kDenseBfloat16), bfloat16);
    const auto mapped = make_dense_matrix(kOut, kIn, bfloat16, {packed, "m"}, {});
    expect_same(*matrix, *mapped);
  }
}

// What a file says instead of what was packed: an array left out, of another type, of another size.
TEST(PackedArrays, OtherArraysAreRefused) {
  const TestFolder folder;
  const auto path = folder.path() / "m.packed";
  for (const char* representation :
       {"int4g32-z", "aq1x9g8", "gvq2d2b-n1024-s16", "had:e8p3", "int4g32+out2%+lr2+rows3"}) {
    SCOPED_TRACE(representation);
    const QuantizedTensor tensor = tensor_of(representation);
    NewArrays made;
    make_quantized_matrix(tensor, {made, "m"});
    const std::vector<TensorView>& arrays = made.made();
    const auto error = [&](const std::vector<TensorView>& views) {
      write_packed_file(path, OrderedJson::object(), sources(views), {});
      PackedArrays packed(PackedFile::open(path));
      return error_of([&] { make_quantized_matrix(without_parts(tensor), {packed, "m"}); });
    };
    for (size_t i = 0; i < arrays.size(); ++i) {
      SCOPED_TRACE(arrays[i].name);
      std::vector<TensorView> fewer = arrays, other = arrays, shorter = arrays;
      fewer.erase(fewer.begin() + static_cast<ptrdiff_t>(i));
      EXPECT_NE(error(fewer).find("pack the model again"), std::string::npos);
      other[i].dtype = DType::F64;
      other[i].shape = {static_cast<int64_t>(other[i].bytes.size() / 8)};
      EXPECT_NE(error(other).find("F64"), std::string::npos);
      shorter[i].shape = {0};
      shorter[i].bytes = {};
      EXPECT_NE(error(shorter).find(arrays[i].name), std::string::npos);
    }
  }
}

// Arrays of any bytes: either an Error, or a matrix that reads nothing beyond its arrays (a run
// with the address sanitizer sees it).
TEST(PackedArrays, NoIndexReachesOutsideOfATable) {
  class AnyBytes final : public ArrayStore {
   public:
    explicit AnyBytes(uint64_t seed) : random_(seed) {}
    std::shared_ptr<const void> get(const std::string& name, DType dtype, int64_t count,
                                    const Fill&) override {
      return memory_.get(name, dtype, count, [&](void* to) {
        const int64_t bytes = byte_size(dtype, {count});
        const int kind = static_cast<int>(random_.below(3));
        for (int64_t i = 0; i < bytes; ++i)
          static_cast<uint8_t*>(to)[i] = static_cast<uint8_t>(kind == 0   ? 0
                                                              : kind == 1 ? 255
                                                                          : random_.below(256));
      });
    }

   private:
    Random random_;
    NewArrays memory_;
  };
  int64_t refused = 0, made = 0;
  for (const char* representation : kRepresentations) {
    const QuantizedTensor bare = without_parts(tensor_of(representation));
    for (uint64_t seed = 0; seed < 20; ++seed) {
      AnyBytes arrays(seed);
      try {
        const auto matrix = make_quantized_matrix(bare, {arrays, "m"});
        ++made;
        for (const Products way : kWays) {
          product(*matrix, way, 1);
          product(*matrix, way, 2);
        }
        std::vector<float> row(kIn);
        for (int64_t r = 0; r < kOut; ++r) matrix->decode_row(r, row.data());
      } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("index"), std::string::npos) << error.what();
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 0);
  EXPECT_GT(made, 0);
}

}  // namespace
}  // namespace bitsmith
