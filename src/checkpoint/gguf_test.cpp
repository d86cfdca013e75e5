#include "checkpoint/gguf.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "checkpoint/test_files.h"

namespace bitsmith {
namespace {

using testing::bytes_of;
using testing::error_of;
using testing::GgufBuilder;

constexpr auto number = []<typename T>(T value) { return GgufBuilder::number(value); };

void expect_gguf_error(const std::string& file, const std::string& part) {
  const std::string message = error_of([&] { parse_gguf(bytes_of(file), "m.gguf"); });
  EXPECT_NE(message.find(part), std::string::npos) << message;
  EXPECT_EQ(message.rfind("m.gguf", 0), 0u) << message;
}

// A small file with every kind of value and several tensors.
GgufBuilder sample(uint32_t version = 3) {
  GgufBuilder gguf(version);
  gguf.raw_key("u8", 0, number(uint8_t{200}));
  gguf.raw_key("i8", 1, number(int8_t{-3}));
  gguf.raw_key("u16", 2, number(uint16_t{60000}));
  gguf.raw_key("i16", 3, number(int16_t{-300}));
  gguf.raw_key("u32", 4, number(uint32_t{4000000000u}));
  gguf.raw_key("i32", 5, number(int32_t{-70000}));
  gguf.raw_key("f32", 6, number(0.5f));
  gguf.raw_key("bool", 7, number(uint8_t{1}));
  gguf.key("string", std::string("raw \xff\x00 bytes", 12));
  gguf.raw_key("u64", 10, number(uint64_t{1} << 63));
  gguf.raw_key("i64", 11, number(int64_t{-5}));
  gguf.raw_key("f64", 12, number(0.1));
  gguf.key("strings", std::vector<std::string>{"a", "", "b"});
  gguf.raw_key("nested", 9,
               number(uint32_t{9}) + number(uint64_t{2}) +               // two arrays
                   number(uint32_t{0}) + number(uint64_t{1}) + "\x07" +  // [7]
                   number(uint32_t{0}) + number(uint64_t{0}));           // []
  gguf.tensor("matrix", {2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6});
  gguf.tensor("blocks", 2, {2, 32}, std::string(36, 'q'));
  gguf.tensor("vector", 1, {5}, std::string(10, 'h'));
  return gguf;
}

TEST(GgufTest, EveryTypeOfValueIsRead) {
  for (const uint32_t version : {2u, 3u}) {
    const std::string file = sample(version).bytes();
    const GgufFile gguf = parse_gguf(bytes_of(file), "m");
    const Json& keys = gguf.keys;
    EXPECT_EQ(keys["u8"], 200);
    EXPECT_EQ(keys["i8"], -3);
    EXPECT_EQ(keys["u16"], 60000);
    EXPECT_EQ(keys["i16"], -300);
    EXPECT_EQ(keys["u32"], 4000000000u);
    EXPECT_EQ(keys["i32"], -70000);
    EXPECT_EQ(keys["f32"], 0.5);
    EXPECT_EQ(keys["bool"], true);
    EXPECT_EQ(keys["string"], std::string("raw \xff\x00 bytes", 12));
    EXPECT_EQ(keys["u64"], uint64_t{1} << 63);
    EXPECT_EQ(keys["i64"], -5);
    EXPECT_EQ(keys["f64"], 0.1);
    std::vector<std::string> strings;
    gguf.arrays.at("strings").each_string("s", [&](auto s) { strings.emplace_back(s); });
    EXPECT_EQ(strings, (std::vector<std::string>{"a", "", "b"}));
    EXPECT_EQ(gguf.arrays.at("nested").size(), 2u);
    EXPECT_EQ(keys["nested"], Json({{"array", "2 x array"}}));
    EXPECT_EQ(gguf.arrays.size(), 2u);
  }
}

TEST(GgufTest, ArraysGiveTheirElements) {
  GgufBuilder builder;
  const auto array = [&](uint32_t type, auto... values) {
    std::string all = number(type) + number(uint64_t{sizeof...(values)});
    ((all += number(values)), ...);
    builder.raw_key(concat("type", type), 9, all);
  };
  array(0, uint8_t{200}, uint8_t{7});
  array(1, int8_t{-3});
  array(2, uint16_t{60000});
  array(3, int16_t{-300});
  array(4, uint32_t{4000000000u});
  array(5, int32_t{-70000}, int32_t{1});
  array(6, 0.5f);
  array(10, uint64_t{1} << 63);
  array(11, int64_t{-5});
  array(12, 0.1);
  builder.key("strings", std::vector<std::string>{"a"});
  builder.raw_key("empty", 9, number(uint32_t{7}) + number(uint64_t{0}));
  const std::string file = builder.bytes();
  const GgufFile gguf = parse_gguf(bytes_of(file), "m");
  const auto integers = [&](const std::string& key) {
    std::vector<int64_t> values;
    gguf.arrays.at(key).each_integer("'" + key + "'", [&](int64_t v) { values.push_back(v); });
    return values;
  };
  const auto numbers = [&](const std::string& key) {
    std::vector<double> values;
    gguf.arrays.at(key).each_number("'" + key + "'", [&](double v) { values.push_back(v); });
    return values;
  };
  using Integers = std::vector<int64_t>;
  EXPECT_EQ(integers("type0"), (Integers{200, 7}));
  EXPECT_EQ(integers("type1"), Integers{-3});
  EXPECT_EQ(integers("type2"), Integers{60000});
  EXPECT_EQ(integers("type3"), Integers{-300});
  EXPECT_EQ(integers("type4"), Integers{4000000000});
  EXPECT_EQ(integers("type5"), (Integers{-70000, 1}));
  EXPECT_LT(integers("type10")[0], 0);
  EXPECT_EQ(integers("type11"), Integers{-5});
  EXPECT_EQ(numbers("type6"), std::vector<double>{0.5});
  EXPECT_EQ(numbers("type12"), std::vector<double>{0.1});
  EXPECT_EQ(numbers("type5"), (std::vector<double>{-70000, 1}));
  EXPECT_TRUE(numbers("empty").empty());
  EXPECT_NE(error_of([&] { integers("type6"); }).find("'type6' is not all integers"),
            std::string::npos);
  EXPECT_THROW(numbers("strings"), Error);
  EXPECT_THROW(gguf.arrays.at("type0").each_string("x", [](auto) {}), Error);
  // A single value is asked for where the file has an array.
  EXPECT_NE(error_of([&] { json_get_or<int>(gguf.keys, "type5", 1, "m"); }).find("2 x int32"),
            std::string::npos);
}

// 64 MiB of metadata: as JSON it would take 4 GiB.
TEST(GgufTest, LongArraysTakeNoMemory) {
  GgufBuilder builder;
  constexpr uint64_t kSize = uint64_t{64} << 20;
  builder.raw_key("long", 9, number(uint32_t{0}) + number(kSize) + std::string(kSize, 'x'));
  const std::string file = builder.bytes();
  const auto peak_kib = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const auto before = peak_kib();
  const GgufFile gguf = parse_gguf(bytes_of(file), "m");
  EXPECT_EQ(gguf.arrays.at("long").size(), kSize);
  EXPECT_LT(peak_kib() - before, 16 << 10);
}

TEST(GgufTest, TooManyKeysOrTensorsAreAnError) {
  const std::string start = "GGUF" + number(uint32_t{3});
  expect_gguf_error(
      start + number(uint64_t{0}) + number(uint64_t{100'000}) + std::string(2'000'000, 0),
      "100000 keys");
  expect_gguf_error(
      start + number(uint64_t{1'000'000}) + number(uint64_t{0}) + std::string(2'000'000, 0),
      "1000000 tensors");
}

TEST(GgufTest, TensorsAreRowMajorViews) {
  const std::string file = sample().bytes();
  const auto tensors = parse_gguf(bytes_of(file), "m").tensors;
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].name, "matrix");
  EXPECT_EQ(tensors[0].shape, (std::vector<int64_t>{2, 3}));
  std::vector<float> values(6);
  decode_to_float(tensors[0].dtype, tensors[0].bytes, values);
  EXPECT_EQ(values, (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(tensors[1].dtype, DType::Q4_0);
  EXPECT_EQ(tensors[1].bytes.size(), 36u);
  EXPECT_EQ(tensors[1].bytes[35], std::byte{'q'});
  EXPECT_EQ(tensors[2].dtype, DType::F16);
  EXPECT_EQ(tensors[2].bytes.data() + tensors[2].bytes.size(), bytes_of(file).data() + file.size());
}

TEST(GgufTest, TheAlignmentKeyIsHonored) {
  GgufBuilder gguf;
  gguf.key("general.alignment", 8u);
  gguf.tensor("t", {1}, std::vector<float>{4});
  std::string file = gguf.bytes();
  const size_t header = 24 + 8 + 17 + 4 + 4 + 8 + 1 + 4 + 8 + 4 + 8;  // as built above
  file = file.substr(0, (header + 7) / 8 * 8) + file.substr(file.size() - 4);
  float value = 0;
  decode_to_float(DType::F32, parse_gguf(bytes_of(file), "m").tensors[0].bytes, {&value, 1});
  EXPECT_EQ(value, 4.0f);
  for (const uint32_t alignment : {0u, 12u, 1u << 30}) {
    GgufBuilder bad;
    bad.key("general.alignment", alignment);
    expect_gguf_error(bad.bytes(), "alignment");
  }
}

TEST(GgufTest, DamageIsAnErrorThatSaysWhere) {
  expect_gguf_error("", "not a GGUF file");
  expect_gguf_error(std::string(100, 'x'), "not a GGUF file");
  expect_gguf_error(sample(1).bytes(), "version 1");
  expect_gguf_error(sample(0x03000000).bytes(), "version");  // big-endian

  const std::string counts = "GGUF" + number(uint32_t{3});
  expect_gguf_error(counts + number(uint64_t{1} << 60) + number(uint64_t{0}), "damaged");
  expect_gguf_error(counts + number(uint64_t{0}) + number(uint64_t{1} << 60), "damaged");
  GgufBuilder bad_type;
  bad_type.raw_key("key", 77, "");
  expect_gguf_error(bad_type.bytes(), "unknown type 77");
  GgufBuilder long_array;
  long_array.raw_key("key", 9, number(uint32_t{8}) + number(~uint64_t{0}));
  expect_gguf_error(long_array.bytes(), "claims");
  GgufBuilder long_string;
  long_string.raw_key("key", 8, number(~uint64_t{0}));
  expect_gguf_error(long_string.bytes(), "damaged");
  GgufBuilder deep;
  std::string nested;
  for (int i = 0; i < 50; ++i) nested += number(uint32_t{9}) + number(uint64_t{1});
  deep.raw_key("key", 9, nested);
  expect_gguf_error(deep.bytes(), "too deeply");
  GgufBuilder twice;
  twice.key("key", 1u);
  twice.key("key", 2u);
  expect_gguf_error(twice.bytes(), "occurs twice");

  const auto tensor_error = [](uint32_t type, const std::vector<int64_t>& shape, size_t size,
                               const std::string& part) {
    GgufBuilder gguf;
    gguf.tensor("t", type, shape, std::string(size, 'x'));
    expect_gguf_error(gguf.bytes(), part);
    expect_gguf_error(gguf.bytes(), "tensor 't'");
  };
  tensor_error(16, {256}, 66, "ggml type 16");
  tensor_error(2, {33}, 18, "multiples of 32");
  tensor_error(0, {1, 1, 1, 1, 1}, 4, "5 dimensions");
  tensor_error(0, {5}, 16, "does not lie in");
  tensor_error(0, {-1}, 16, "impossible size");
  tensor_error(0, {int64_t{1} << 40, int64_t{1} << 40}, 16, "large");
  GgufBuilder same_name;
  same_name.tensor("t", {1}, std::vector<float>{1});
  same_name.tensor("t", {1}, std::vector<float>{1});
  expect_gguf_error(same_name.bytes(), "occurs twice");
  GgufBuilder overlap;
  overlap.tensor("a", {16}, std::vector<float>(16));
  overlap.tensor("b", {16}, std::vector<float>(16));
  std::string file = overlap.bytes();
  file[file.find("b", 24) + 1 + 4 + 8 + 4] = 32;  // b's offset, 64 before
  expect_gguf_error(file, "overlap");
}

TEST(GgufTest, TruncationsFailAndBitFlipsAreHarmless) {
  const std::string file = sample().bytes();
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_THROW(parse_gguf(bytes_of(file.substr(0, size)), "f"), Error) << size;
  }
  for (size_t bit = 0; bit < 8 * file.size(); ++bit) {
    std::string flipped = file;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    try {
      for (const TensorView& tensor : parse_gguf(bytes_of(flipped), "f").tensors) {
        EXPECT_EQ(static_cast<int64_t>(tensor.bytes.size()), byte_size(tensor.dtype, tensor.shape));
      }
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace bitsmith
