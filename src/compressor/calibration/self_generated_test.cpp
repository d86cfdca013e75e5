#include "compressor/calibration/self_generated.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

class SelfGenerated : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              concat("self_generated_", ::testing::UnitTest::GetInstance()->random_seed(), "_",
                     ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::vector<std::vector<int32_t>> sequences(const SelfGeneratedRequest& request) {
    return self_generated_sequences(request, folder_, [&](const SelfGeneratedRequest& asked) {
      ++generated_;
      std::vector<std::vector<int32_t>> result(asked.count);
      for (int64_t i = 0; i < asked.count; ++i) {
        for (int64_t j = 0; j < asked.length; ++j)
          result[i].push_back(static_cast<int32_t>((asked.seed + 7 * i + j) % asked.vocab_size));
      }
      return result;
    });
  }
  fs::path cached_file() const {
    for (const auto& entry : fs::recursive_directory_iterator(folder_))
      if (entry.is_regular_file()) return entry.path();
    return {};
  }

  fs::path folder_;
  int generated_ = 0;
  SelfGeneratedRequest request_{
      .model_hash = "abc", .vocab_size = 50, .count = 4, .length = 9, .temperature = 1, .seed = 3};
};

TEST_F(SelfGenerated, GeneratesOnce) {
  const auto first = sequences(request_);
  EXPECT_EQ(first, sequences(request_));
  EXPECT_EQ(generated_, 1);
}

TEST_F(SelfGenerated, EveryPartOfTheRequestCounts) {
  sequences(request_);
  std::vector<SelfGeneratedRequest> others(5, request_);
  others[0].model_hash = "abd";
  others[1].count = 5;
  others[2].length = 8;
  others[3].temperature = 0.9;
  others[4].seed = 4;
  for (const SelfGeneratedRequest& other : others) sequences(other);
  EXPECT_EQ(generated_, 6);
}

TEST_F(SelfGenerated, DamagedFilesAreMadeAnew) {
  const auto whole = sequences(request_);
  const fs::path file = cached_file();
  const auto size = fs::file_size(file);
  {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(size) - 3);
    stream.put('\x7f');
  }
  EXPECT_EQ(whole, sequences(request_));
  EXPECT_EQ(generated_, 2);
  fs::resize_file(file, size / 2);
  EXPECT_EQ(whole, sequences(request_));
  EXPECT_EQ(generated_, 3);
  EXPECT_EQ(whole, sequences(request_));
  EXPECT_EQ(generated_, 3);
}

TEST_F(SelfGenerated, WorksWithoutAUsableCache) {
  std::ofstream(folder_) << "a file where the folder should be";
  const auto first = sequences(request_);
  EXPECT_EQ(first, sequences(request_));
  EXPECT_EQ(generated_, 2);
}

TEST_F(SelfGenerated, RefusesWrongSequences) {
  const auto short_ones = [](const SelfGeneratedRequest& asked) {
    return std::vector<std::vector<int32_t>>(asked.count, std::vector<int32_t>(asked.length - 1));
  };
  EXPECT_THROW(self_generated_sequences(request_, folder_, short_ones), Error);
}

}  // namespace
}  // namespace bitsmith
