#include "checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "checkpoint/test_files.h"

namespace bitsmith {
namespace {

using testing::bytes_of;
using testing::error_of;
using testing::TestFolder;

TensorView view(const std::string& name, DType dtype, const std::vector<int64_t>& shape,
                const std::string& bytes) {
  return {name, dtype, shape, bytes_of(bytes)};
}

std::string file_with(const std::string& header, const std::string& data) {
  const uint64_t size = header.size();
  return std::string(reinterpret_cast<const char*>(&size), 8) + header + data;
}

void expect_safetensors_error(const std::string& file, const std::string& part) {
  const std::string message = error_of([&] { parse_safetensors(bytes_of(file), "m.safetensors"); });
  EXPECT_NE(message.find(part), std::string::npos) << message;
  EXPECT_EQ(message.rfind("m.safetensors", 0), 0u) << message;
}

TEST(SafetensorsTest, WhatIsWrittenIsRead) {
  const TestFolder folder;
  const std::string a(24, 'a'), b(6, 'b'), scalar(4, 's');
  const std::vector<TensorView> tensors = {
      view("a", DType::F32, {2, 3}, a), view("scalar", DType::F32, {}, scalar),
      view("empty", DType::I32, {0, 4}, ""), view("b \"quoted\"", DType::BF16, {3}, b)};
  const auto path = folder.path() / "model.safetensors";
  write_safetensors(path, tensors, {{"format", "pt"}});
  const SafetensorsFile file = open_safetensors(path);
  EXPECT_EQ(file.metadata.at("format"), "pt");
  ASSERT_EQ(file.tensors.size(), tensors.size());
  for (const TensorView& tensor : tensors) {
    const TensorView* found = file.find(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    EXPECT_EQ(found->dtype, tensor.dtype);
    EXPECT_EQ(found->shape, tensor.shape);
    ASSERT_EQ(found->bytes.size(), tensor.bytes.size());
    EXPECT_TRUE(std::equal(tensor.bytes.begin(), tensor.bytes.end(), found->bytes.begin()));
  }
  EXPECT_EQ(file.find("absent"), nullptr);
  EXPECT_EQ(file.tensors.front().name, "a");

  const std::string first = read_text_file(path);
  write_safetensors(path, tensors, {{"format", "pt"}});
  EXPECT_EQ(read_text_file(path), first);
}

TEST(SafetensorsTest, EveryTensorIsAligned) {
  const TestFolder folder;
  const std::string three(3, 'x'), two(2, 'y'), eight(8, 'z');
  write_safetensors(folder.path() / "f",
                    {view("codes", DType::U8, {3}, three), view("scale", DType::F16, {1}, two),
                     view("sum", DType::F64, {1}, eight), view("more", DType::U8, {3}, three)});
  const SafetensorsFile file = open_safetensors(folder.path() / "f");
  const std::byte* begin = file.file->bytes().data();
  for (const TensorView& tensor : file.tensors) {
    EXPECT_EQ((tensor.bytes.data() - begin) % block_layout(tensor.dtype).bytes, 0) << tensor.name;
  }
  EXPECT_EQ(file.tensors[2].name, "codes");  // the order stays where widths are equal
  EXPECT_EQ(file.tensors[3].name, "more");
}

TEST(SafetensorsTest, ShardsHoldAllTensorsWithinTheLimit) {
  const TestFolder folder;
  std::vector<std::string> storage(5, std::string(40, 'x'));
  std::vector<TensorSource> tensors;
  for (size_t i = 0; i < storage.size(); ++i) {
    tensors.push_back(view(concat("t", i), DType::F32, {10}, storage[i]));
  }
  const auto whole = write_sharded_safetensors(folder.path(), tensors, 200);
  EXPECT_EQ(whole, std::vector<std::string>{"model.safetensors"});
  EXPECT_EQ(sharded_safetensors_bytes(tensors, 200),
            std::filesystem::file_size(folder.path() / "model.safetensors"));
  const auto names = write_sharded_safetensors(folder.path(), tensors, 100);
  uint64_t bytes = 0;
  for (const std::string& name : names) {
    if (name.ends_with(".safetensors")) bytes += std::filesystem::file_size(folder.path() / name);
  }
  EXPECT_EQ(sharded_safetensors_bytes(tensors, 100), bytes);
  ASSERT_EQ(names.size(), 4u);
  EXPECT_EQ(names[0], "model-00001-of-00003.safetensors");
  EXPECT_EQ(names[3], "model.safetensors.index.json");
  const Json index = read_json_file(folder.path() / names[3]);
  EXPECT_EQ(index["metadata"]["total_size"], 200);
  for (const TensorSource& tensor : tensors) {
    const auto shard = folder.path() / index["weight_map"][tensor.name].get<std::string>();
    EXPECT_NE(open_safetensors(shard).find(tensor.name), nullptr);
  }
}

TEST(SafetensorsTest, DamageIsAnErrorThatSaysWhere) {
  const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  EXPECT_EQ(parse_safetensors(bytes_of(file_with(good, std::string(8, 'd'))), "m").size(), 1u);
  expect_safetensors_error("", "not a safetensors file");
  expect_safetensors_error(std::string(7, '\0'), "not a safetensors file");
  expect_safetensors_error(std::string(16, '\xff'), "not a complete safetensors file");
  expect_safetensors_error(file_with(good, std::string(7, 'd')), "tensor 'a'");
  expect_safetensors_error(file_with(good, std::string(9, 'd')), "1 bytes after the last tensor");
  expect_safetensors_error(file_with("[]", ""), "not a JSON object");
  expect_safetensors_error(file_with("{", ""), "not valid JSON");
  const auto entry = [](const std::string& dtype, const std::string& shape,
                        const std::string& offsets) {
    return file_with("{\"a\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
                         ",\"data_offsets\":" + offsets + "}}",
                     std::string(8, 'd'));
  };
  expect_safetensors_error(entry("F8_E4M3", "[8]", "[0,8]"), "F8_E4M3");
  expect_safetensors_error(entry("Q4_0", "[8]", "[0,8]"), "Q4_0");
  expect_safetensors_error(entry("F32", "[3]", "[0,8]"), "12 bytes");
  expect_safetensors_error(entry("F32", "[-2]", "[0,8]"), "'shape'");
  expect_safetensors_error(entry("F32", "[2.0]", "[0,8]"), "'shape'");
  expect_safetensors_error(entry("F32", "\"2\"", "[0,8]"), "'shape'");
  expect_safetensors_error(entry("F32", "[2]", "[8,0]"), "tensor 'a'");
  expect_safetensors_error(entry("F32", "[2]", "[0]"), "tensor 'a'");
  expect_safetensors_error(entry("F32", "[2]", "[0,18446744073709551615]"), "'data_offsets'");
  expect_safetensors_error(entry("F32", "[4611686018427387904,4611686018427387904]", "[0,8]"),
                           "large");
  expect_safetensors_error(file_with(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                                     R"("b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
                                     std::string(6, 'd')),
                           "overlaps");
  expect_safetensors_error(file_with(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                                     R"("b":{"dtype":"U8","shape":[2],"data_offsets":[6,8]}})",
                                     std::string(8, 'd')),
                           "does not follow");
}

TEST(SafetensorsTest, TruncationsFailAndBitFlipsAreHarmless) {
  const TestFolder folder;
  const std::string data(32, 'd');
  write_safetensors(folder.path() / "f",
                    {view("x.weight", DType::F32, {2, 4}, data), view("y", DType::U8, {3}, "abc")});
  const std::string file = read_text_file(folder.path() / "f");
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_THROW(parse_safetensors(bytes_of(file.substr(0, size)), "f"), Error) << size;
  }
  for (size_t bit = 0; bit < 8 * file.size(); ++bit) {
    std::string flipped = file;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    try {
      for (const TensorView& tensor : parse_safetensors(bytes_of(flipped), "f")) {
        EXPECT_EQ(static_cast<int64_t>(tensor.bytes.size()), byte_size(tensor.dtype, tensor.shape));
      }
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace bitsmith
