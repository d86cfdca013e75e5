#include "checkpoint/tensor_source.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "base/half.h"
#include "base/random.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/test_files.h"

namespace bitsmith {
namespace {

using testing::TestFolder;

// F32 values that come in pieces of `piece` values.
TensorSource in_pieces(const std::string& name, const std::vector<float>& values, size_t piece) {
  return {name,
          DType::F32,
          {static_cast<int64_t>(values.size())},
          [&values, piece](const ByteSink& sink) {
            for (size_t i = 0; i < values.size(); i += piece)
              sink(std::as_bytes(std::span(values).subspan(i, std::min(piece, values.size() - i))));
          }};
}

std::vector<std::byte> all_bytes(const TensorSource& source) {
  std::vector<std::byte> bytes;
  source.write([&](std::span<const std::byte> piece) {
    bytes.insert(bytes.end(), piece.begin(), piece.end());
  });
  return bytes;
}

TEST(TensorSourceTest, RoundsToFp16WhateverThePieces) {
  Random random(3);
  std::vector<float> values(50'000);
  for (float& value : values) value = static_cast<float>(random.normal());
  std::vector<uint16_t> expected;
  for (const float value : values) expected.push_back(float_to_fp16(value));
  for (const size_t piece : {size_t{7}, size_t{20'000}, values.size()}) {
    const TensorSource halves = as_fp16(in_pieces("t", values, piece));
    EXPECT_EQ(halves.dtype, DType::F16);
    EXPECT_EQ(halves.bytes(), 2 * values.size());
    const auto bytes = all_bytes(halves);
    ASSERT_EQ(bytes.size(), 2 * values.size());
    EXPECT_EQ(std::memcmp(bytes.data(), expected.data(), bytes.size()), 0);
  }
}

TEST(TensorSourceTest, KnowsTheRangeOfFp16) {
  std::vector<float> values(40'000, 65'504.0f);
  EXPECT_TRUE(fits_fp16(in_pieces("t", values, 999)));
  values.back() = 65'519.0f;  // rounds down
  EXPECT_TRUE(fits_fp16(in_pieces("t", values, 999)));
  values.back() = std::numeric_limits<float>::infinity();  // is one in F16 too
  EXPECT_TRUE(fits_fp16(in_pieces("t", values, 999)));
  for (const float beyond : {65'520.0f, -1e6f}) {
    values.back() = beyond;
    EXPECT_FALSE(fits_fp16(in_pieces("t", values, 999)));
  }
}

TEST(TensorSourceTest, IsMadeOnceAWriteAndInItsTurn) {
  const TestFolder folder;
  const std::vector<float> a(30, 1.0f), b(20, 2.0f);
  std::vector<std::string> made;
  const auto counted = [&](const std::string& name, const std::vector<float>& values) {
    TensorSource source = in_pieces(name, values, 8);
    source.write = [&made, name, write = source.write](const ByteSink& sink) {
      made.push_back(name);
      write(sink);
    };
    return source;
  };
  write_sharded_safetensors(folder.path(), {counted("a", a), counted("b", b)});
  EXPECT_EQ(made, (std::vector<std::string>{"a", "b"}));
  const SafetensorsFile file = open_safetensors(folder.path() / "model.safetensors");
  EXPECT_EQ(std::memcmp(file.find("b")->bytes.data(), b.data(), 80), 0);
}

}  // namespace
}  // namespace bitsmith
