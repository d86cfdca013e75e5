// For tests: folders that vanish, and a writer of GGUF files.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "checkpoint/safetensors.h"

namespace bitsmith::testing {

// A folder of this test alone, removed at the end.
class TestFolder {
 public:
  TestFolder() {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    std::string name = concat(info->test_suite_name(), "_", info->name());
    std::replace(name.begin(), name.end(), '/', '_');
    path_ = std::filesystem::temp_directory_path() / concat("bitsmith_", getpid(), "_", name);
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// The message of the Error that `action` must throw.
inline std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return "";
}

inline std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Builds a GGUF file in memory, value by value, as the specification says.
class GgufBuilder {
 public:
  explicit GgufBuilder(uint32_t version = 3) : version_(version) {}

  void key(const std::string& name, const std::string& value) { raw_key(name, 8, string(value)); }
  void key(const std::string& name, uint32_t value) { raw_key(name, 4, number(value)); }
  void key(const std::string& name, float value) { raw_key(name, 6, number(value)); }
  void key(const std::string& name, const std::vector<std::string>& values) {
    std::string all = number(uint32_t{8}) + number(uint64_t{values.size()});
    for (const std::string& value : values) all += string(value);
    raw_key(name, 9, all);
  }
  // `type` and `value` as the file has them.
  void raw_key(const std::string& name, uint32_t type, const std::string& value) {
    keys_ += string(name) + number(type) + value;
    ++key_count_;
  }
  // `shape` is row-major; the file has the fastest dimension first.
  void tensor(const std::string& name, uint32_t ggml_type, std::vector<int64_t> shape,
              const std::string& bytes) {
    data_.resize((data_.size() + 31) / 32 * 32);
    directory_ += string(name) + number(static_cast<uint32_t>(shape.size()));
    std::reverse(shape.begin(), shape.end());
    for (const int64_t size : shape) directory_ += number(static_cast<uint64_t>(size));
    directory_ += number(ggml_type) + number(uint64_t{data_.size()});
    data_ += bytes;
    ++tensor_count_;
  }
  void tensor(const std::string& name, const std::vector<int64_t>& shape,
              const std::vector<float>& values) {
    tensor(name, 0, shape,
           std::string(reinterpret_cast<const char*>(values.data()), 4 * values.size()));
  }

  std::string bytes() const {
    std::string file =
        "GGUF" + number(version_) + number(tensor_count_) + number(key_count_) + keys_ + directory_;
    file.resize((file.size() + 31) / 32 * 32);
    return file + data_;
  }

  template <typename T>
  static std::string number(T value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  static std::string string(const std::string& text) {
    return number(uint64_t{text.size()}) + text;
  }

 private:
  uint32_t version_;
  uint64_t tensor_count_ = 0, key_count_ = 0;
  std::string keys_, directory_, data_;
};

}  // namespace bitsmith::testing
