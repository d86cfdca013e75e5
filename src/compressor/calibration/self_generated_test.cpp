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

  std::vector<std::vector<int32_t>> batch(const SelfGeneratedRequest& asked, int64_t first,
                                          int64_t count) {
    ++generated_;
    std::vector<std::vector<int32_t>> result(count);
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t j = 0; j < asked.context; ++j)
        result[i].push_back(
            static_cast<int32_t>((asked.seed + 7 * (first + i) + j) % asked.vocab_size));
    }
    return result;
  }
  std::vector<std::vector<int32_t>> windows(const SelfGeneratedRequest& request) {
    return self_generated_windows(
        request, folder_, [&](const SelfGeneratedRequest& asked, int64_t first, int64_t count) {
          return batch(asked, first, count);
        });
  }
  // The message of a run that is interrupted in the batch after `batches` of them.
  std::string interrupt_after(int batches, const SelfGeneratedRequest& request,
                              const fs::path& cache) {
    int done = 0;
    try {
      self_generated_windows(request, cache,
                             [&](const SelfGeneratedRequest& asked, int64_t first, int64_t count) {
                               if (done++ == batches) throw Interrupted("stopped");
                               return batch(asked, first, count);
                             });
    } catch (const Interrupted& stopped) {
      return stopped.what();
    }
    return "not interrupted";
  }
  fs::path cached_file() const {
    for (const auto& entry : fs::recursive_directory_iterator(folder_))
      if (entry.is_regular_file()) return entry.path();
    return {};
  }

  fs::path folder_;
  int generated_ = 0;  // batches
  SelfGeneratedRequest request_{
      .model_hash = "abc", .vocab_size = 50, .count = 4, .context = 9, .temperature = 1, .seed = 3};
};

TEST_F(SelfGenerated, GeneratesOnce) {
  const auto first = windows(request_);
  EXPECT_EQ(first, windows(request_));
  EXPECT_EQ(generated_, 1);
}

TEST_F(SelfGenerated, EveryPartOfTheRequestCounts) {
  windows(request_);
  std::vector<SelfGeneratedRequest> others(8, request_);
  others[0].model_hash = "abd";
  others[1].count = 5;
  others[2].context = 8;
  others[3].temperature = 0.9;
  others[4].seed = 4;
  others[5].start = 1;
  others[6].chat_share = others[7].chat_share = 0.5;
  others[7].chat_start = {1, 2};
  for (const SelfGeneratedRequest& other : others) windows(other);
  EXPECT_EQ(generated_, 9);
}

TEST_F(SelfGenerated, AShareBeginsAsChats) {
  request_.start = 7;
  request_.chat_share = 0.25;
  request_.chat_start = {1, 2, 3};
  int chats = 0;
  for (int64_t window = 0; window < 40; ++window) {
    chats += request_.is_chat(window);
    EXPECT_EQ(request_.beginning(window),
              request_.is_chat(window) ? request_.chat_start : std::vector<int32_t>{7});
  }
  EXPECT_EQ(chats, 10);
}

TEST_F(SelfGenerated, DamagedFilesAreMadeAnew) {
  const auto whole = windows(request_);
  const fs::path file = cached_file();
  const auto size = fs::file_size(file);
  {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(size) - 3);
    stream.put('\x7f');
  }
  EXPECT_EQ(whole, windows(request_));
  EXPECT_EQ(generated_, 2);
  fs::resize_file(file, size / 2);
  EXPECT_EQ(whole, windows(request_));
  EXPECT_EQ(generated_, 3);
  EXPECT_EQ(whole, windows(request_));
  EXPECT_EQ(generated_, 3);
}

TEST_F(SelfGenerated, WorksWithoutAUsableCache) {
  std::ofstream(folder_) << "a file where the folder should be";
  const auto first = windows(request_);
  EXPECT_EQ(first, windows(request_));
  EXPECT_EQ(generated_, 2);
}

// Three batches and a part of one.
constexpr int64_t kLong = 3 * kGeneratedAtOnce + 5;

TEST_F(SelfGenerated, GoesOnAfterAnInterrupt) {
  request_.count = kLong;
  const fs::path untouched = folder_ / "other";
  const auto whole = self_generated_windows(
      request_, untouched, [&](const SelfGeneratedRequest& asked, int64_t first, int64_t count) {
        return batch(asked, first, count);
      });
  EXPECT_EQ(generated_, 4);
  fs::remove_all(untouched);

  generated_ = 0;
  EXPECT_EQ(interrupt_after(0, request_, folder_),
            concat("stopped after 0 of ", kLong,
                   " windows of the model's own text; the same command begins anew"));
  EXPECT_EQ(interrupt_after(2, request_, folder_),
            concat("stopped after ", 2 * kGeneratedAtOnce, " of ", kLong,
                   " windows of the model's own text; the same command goes on from there"));
  EXPECT_EQ(interrupt_after(1, request_, folder_),
            concat("stopped after ", 3 * kGeneratedAtOnce, " of ", kLong,
                   " windows of the model's own text; the same command goes on from there"));
  EXPECT_EQ(generated_, 3);
  EXPECT_EQ(windows(request_), whole);
  EXPECT_EQ(generated_, 4);
  EXPECT_EQ(windows(request_), whole);
  EXPECT_EQ(generated_, 4);
  // One file is left, the whole text.
  EXPECT_EQ(std::distance(fs::recursive_directory_iterator(folder_), {}), 2);
  EXPECT_EQ(cached_file().string().find("partial"), std::string::npos);
}

TEST_F(SelfGenerated, DamagedPartsAreMadeAnew) {
  request_.count = kLong;
  const auto whole = windows(request_);
  fs::remove_all(folder_);
  interrupt_after(2, request_, folder_);
  fs::resize_file(cached_file(), fs::file_size(cached_file()) - 4);
  generated_ = 0;
  EXPECT_EQ(windows(request_), whole);
  EXPECT_EQ(generated_, 4);
}

TEST_F(SelfGenerated, WithoutACacheAnInterruptedTextBeginsAnew) {
  request_.count = kLong;
  const std::string message = interrupt_after(2, request_, {});
  EXPECT_NE(message.find("begins anew"), std::string::npos) << message;
}

TEST_F(SelfGenerated, RefusesWrongWindows) {
  const auto short_ones = [](const SelfGeneratedRequest& asked, int64_t, int64_t count) {
    return std::vector<std::vector<int32_t>>(count, std::vector<int32_t>(asked.context - 1));
  };
  EXPECT_THROW(self_generated_windows(request_, folder_, short_ones), Error);
  const auto too_few = [&](const SelfGeneratedRequest& asked, int64_t first, int64_t count) {
    return batch(asked, first, count - 1);
  };
  EXPECT_THROW(self_generated_windows(request_, folder_, too_few), Error);
}

}  // namespace
}  // namespace bitsmith
