#include "checkpoint/packed_file.h"

#include <gtest/gtest.h>

#include <cstring>

#include "checkpoint/model_texts.h"
#include "checkpoint/test_files.h"

namespace bitsmith {
namespace {

using testing::error_of;
using testing::TestFolder;

class PackedFiles : public ::testing::Test {
 protected:
  PackedFiles() : path_(folder_.path() / "m.packed") {
    for (size_t i = 0; i < values_.size(); ++i) values_[i] = static_cast<float>(i);
  }
  TensorView array(const std::string& name, size_t count) const {
    return {name,
            DType::F32,
            {static_cast<int64_t>(count)},
            std::as_bytes(std::span(values_).first(count))};
  }
  void write() const {
    write_packed_file(path_, {{"isa", "scalar"}}, {array("a.x", 16), array("b.y", 32)},
                      {{"config.json", "{\"k\": 1}"}, {"t", "abc"}});
  }
  // The file's bytes on a 64-byte boundary, changed by `change`.
  std::string parse_error(const std::function<void(std::string&)>& change) const {
    std::string bytes = read_text_file(path_);
    change(bytes);
    std::vector<char> memory(bytes.size() + 64);
    char* const aligned = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
    std::memcpy(aligned, bytes.data(), bytes.size());
    return error_of(
        [&] { PackedFile::parse(std::as_bytes(std::span(aligned, bytes.size())), "m.packed"); });
  }

  TestFolder folder_;
  std::filesystem::path path_;
  std::vector<float> values_ = std::vector<float>(32);
};

void replace(std::string& text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
}

TEST_F(PackedFiles, WhatIsWrittenIsReadWhereItLies) {
  write();
  ASSERT_TRUE(PackedFile::recognizes(path_));
  const auto file = PackedFile::open(path_);
  EXPECT_EQ(file->about().at("isa"), "scalar");
  EXPECT_EQ(file->about().at("version"), PackedFile::kVersion);
  ASSERT_EQ(file->arrays().size(), 2u);
  const TensorView* found = file->find_array("b.y");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(found->bytes.data()) % PackedFile::kAlignment, 0u);
  EXPECT_EQ(0, std::memcmp(found->bytes.data(), values_.data(), found->bytes.size()));
  EXPECT_EQ(file->find_array("text/t"), nullptr);
  ASSERT_NE(file->find_text("t"), nullptr);
  EXPECT_EQ(*file->find_text("t"), "abc");
  EXPECT_EQ(file->find_text("u"), nullptr);
}

TEST_F(PackedFiles, TheSameBytesEachTime) {
  write();
  const std::string first = read_text_file(path_);
  write();
  EXPECT_EQ(read_text_file(path_), first);
}

TEST_F(PackedFiles, TextsAreReadAsThoseOfAFolder) {
  write();
  write_file_atomic(folder_.path() / "config.json", "{\"k\": 1}");
  const ModelTexts packed(PackedFile::open(path_)), folder(folder_.path());
  for (const ModelTexts* texts : {&packed, &folder}) {
    EXPECT_TRUE(texts->has("config.json"));
    EXPECT_FALSE(texts->has("tokenizer.json"));
    EXPECT_EQ(texts->read("config.json"), "{\"k\": 1}");
    EXPECT_EQ(texts->read_json("config.json").at("k"), 1);
    EXPECT_THROW(texts->read("tokenizer.json"), Error);
    EXPECT_NE(texts->described("config.json").find("config.json"), std::string::npos);
  }
}

TEST_F(PackedFiles, OtherFilesAreNotRecognized) {
  EXPECT_FALSE(PackedFile::recognizes(path_));
  EXPECT_FALSE(PackedFile::recognizes(folder_.path()));
  for (const std::string& text : {std::string(), std::string("GGUF"), std::string(100, ' ')}) {
    write_file_atomic(path_, text);
    EXPECT_FALSE(PackedFile::recognizes(path_));
  }
  write_safetensors(path_, {array("a", 16)}, {{"format", "pt"}});
  EXPECT_FALSE(PackedFile::recognizes(path_));
  EXPECT_NE(error_of([&] { PackedFile::open(path_); }).find("not a packed model"),
            std::string::npos);
}

TEST_F(PackedFiles, DamageIsNamed) {
  write();
  const auto says = [&](const std::string& what, const std::function<void(std::string&)>& change) {
    const std::string message = parse_error(change);
    EXPECT_NE(message.find(what), std::string::npos) << message;
    EXPECT_NE(message.find("m.packed"), std::string::npos) << message;
  };
  says("version 7", [](std::string& b) { replace(b, "\\\"version\\\":1", "\\\"version\\\":7"); });
  says("pack the model again",
       [](std::string& b) { replace(b, "\\\"version\\\":1", "\\\"version\\\":7"); });
  says("'version'", [](std::string& b) { replace(b, "\\\"version\\\":1", "\\\"Version\\\":1"); });
  says("damaged", [](std::string& b) { b.resize(b.size() - 1); });
  says("damaged", [](std::string& b) { b += "x"; });
  // A text in the place of an array's end.
  says("whole units", [](std::string& b) { replace(b, "\"text/t\"", "\"textt_\""); });
  says("has the shape", [](std::string& b) { replace(b, "[16]", "[15]"); });
}

}  // namespace
}  // namespace bitsmith
