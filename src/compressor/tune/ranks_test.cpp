// Training on several ranks is training on one.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/test_ranks.h"
#include "compressor/train/teacher_cache.h"
#include "compressor/train/test_matrices.h"
#include "compressor/tune/trainer.h"
#include "compressor/tune/tune_model.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

// Raises a flag when a task has shown so many steps.
class StopAfter : public ProgressSink {
 public:
  StopAfter(int steps, CancelFlag& flag) : left_(steps), flag_(flag) {}
  void begin(const std::string&) override {}
  void update(double, const std::string&) override {
    if (--left_ == 0) flag_.raise();
  }
  void end() override {}

 private:
  int left_;
  CancelFlag& flag_;
};

// The original, until it is lost.
class LostTeacher : public Teacher {
 public:
  LostTeacher(Decoder& decoder, int batches) : inner_(decoder), left_(batches) {}
  std::unique_ptr<TeacherRows> rows(const TrainingWindows& windows) override {
    if (--left_ < 0) throw Error("the machine is gone");
    return inner_.rows(windows);
  }

 private:
  DecoderTeacher inner_;
  int left_;
};

class RanksTrain : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / concat("ranks_", ::getpid());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    files_ = ModelFiles::open(fs::path(BITSMITH_TESTDATA) / "tiny_llama_trained");
    torch::manual_seed(1);
    data_.train = torch::randint(files_->plan().vocab_size, {24, 32}, torch::kInt64);
    data_.validation = torch::randint(files_->plan().vocab_size, {5, 32}, torch::kInt64);
    options_.tokens = 10 * 128;  // 10 steps
    options_.batch_tokens = 128;
    options_.micro_tokens = 32;  // 4 micro-batches
    options_.code.schedule = {.p_steps = 2, .start = 0.3};
    options_.dtype = "float32";
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path work(const std::string& name) const {
    fs::create_directories(folder_ / name);
    return folder_ / name;
  }
  std::string best(const std::string& name) const {
    return read_text_file(work(name) / "best.safetensors");
  }

  // What one rank does. lose_after: micro-batches that its teacher lives for.
  TuneResult train_rank(Communicator& ranks, const std::string& name, RunContext context,
                        int lose_after = 1 << 20) const {
    at::set_num_threads(1);  // the matrices are tiny
    context.communicator = &ranks;
    if (!ranks.first()) context.progress = nullptr;
    const auto teacher = Decoder::load(files_, torch::kFloat32);
    auto decoder = Decoder::load(files_, torch::kFloat32);
    for (const auto& block : decoder->blocks()) {
      for (Linear* linear : block->linears()) quantize_to_nearest(*linear, "int2g16");
    }
    Student student(std::move(decoder), *teacher,
                    code_rule_factory(options_.strategy, options_.code_options()), {},
                    StateMemory::plain(), ranks);
    LostTeacher targets(*teacher, lose_after);
    return train(student, *teacher, targets, data_, options_, "request", work(name),
                 folder_ / (name + ".jsonl"), context);
  }
  TuneResult train_on(int size, const std::string& name, const RunContext& context = {}) const {
    TuneResult result;
    test_ranks::run_ranks(size, [&](Communicator& ranks) {
      const TuneResult own = train_rank(ranks, name, context);
      ranks.barrier();
      if (ranks.first()) result = own;
    });
    return result;
  }

  static void expect_same(const TuneResult& got, const TuneResult& want) {
    EXPECT_EQ(got.kl_before, want.kl_before);
    EXPECT_EQ(got.kl_after, want.kl_after);
    EXPECT_EQ(got.best_step, want.best_step);
    EXPECT_EQ(got.codes_changed, want.codes_changed);
  }

  fs::path folder_;
  std::shared_ptr<const ModelFiles> files_;
  TokenDataset data_;
  TuneOptions options_;
};

TEST_P(RanksTrain, ToTheBytesOfOneProcess) {
  options_.strategy = GetParam();
  const TuneResult alone = train_on(1, "alone");
  EXPECT_LT(alone.kl_after, alone.kl_before);
  for (const int size : {2, 3, 5}) {  // four micro-batches a step: also uneven, and none for one
    const std::string name = concat(size, "ranks");
    expect_same(train_on(size, name), alone);
    EXPECT_EQ(best(name), best("alone")) << size;
  }
}

INSTANTIATE_TEST_SUITE_P(Strategies, RanksTrain,
                         testing::Values("continuous", "pv", "pv+ste", "stochastic-rounding"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name)
                             if (c == '+' || c == '-') c = '_';
                           return name;
                         });

TEST_F(RanksTrain, OtherOptionsToTheSameBytesToo) {
  options_.strategy = "ste";
  options_.code.schedule.alternate = true;
  options_.optimizer_state = MomentFormat::kEightBits;
  options_.p_step = {.optimizer = Optimizer::kLamb, .weight_decay = 0.01};
  options_.max_gradient_norm = 1e-3;
  expect_same(train_on(3, "3ranks"), train_on(1, "alone"));
  EXPECT_EQ(best("3ranks"), best("alone"));
}

// Two ranks, then three, then one, then two.
TEST_F(RanksTrain, AnotherNumberOfRanksGoesOn) {
  const TuneResult whole = train_on(1, "whole");
  TuneResult parts;
  int interruptions = 0;
  for (const int size : {2, 3, 1, 2}) {
    CancelFlag flag;
    StopAfter sink(3, flag);
    try {
      parts = train_on(size, "parts", {.progress = &sink, .cancel = &flag});
    } catch (const Interrupted&) {
      ++interruptions;
    }
  }
  EXPECT_EQ(interruptions, 3);
  expect_same(parts, whole);
  EXPECT_EQ(best("parts"), best("whole"));
}

// The run ends with what was saved, and another goes on.
TEST_F(RanksTrain, ALostRankEndsTheRunWhichCanGoOn) {
  const TuneResult whole = train_on(1, "whole");
  options_.checkpoint_minutes = 0;  // after each step
  try {
    test_ranks::run_ranks(3, [&](Communicator& ranks) {
      train_rank(ranks, "lost", {}, ranks.rank() == 1 ? 4 : 1 << 20);
    });
    ADD_FAILURE() << "nobody missed the rank";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "the machine is gone");
  }
  EXPECT_TRUE(fs::exists(work("lost") / "state.safetensors"));
  expect_same(train_on(2, "lost"), whole);
  EXPECT_EQ(best("lost"), best("whole"));
}

TEST_F(RanksTrain, PassesOverTheBlocksAreRefused) {
  const auto quantized = ModelFiles::open(fs::path(BITSMITH_TESTDATA) / "tiny_quantized_v2");
  options_.strategy = "second-pass";
  test_ranks::run_ranks(2, [&](Communicator& ranks) {
    try {
      check_tune_request(*quantized, *quantized, options_, 32, "", {.communicator = &ranks});
      ADD_FAILURE() << "a pass was not refused";
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find("work of one process"), std::string::npos);
    }
  });
}

TEST_F(RanksTrain, TheyShareTheFilesOfATeacherCache) {
  const TeacherCacheKey key = {
      .model_hash = "model", .data_hash = "data", .dtype = "float32", .top_k = 4, .temperature = 1};
  const auto windows = torch::randint(files_->plan().vocab_size, {100, 8}, torch::kInt64);
  std::vector<std::map<std::string, std::string>> contents;
  for (const int size : {1, 3}) {
    const fs::path folder = folder_ / concat("cache", size);
    test_ranks::run_ranks(size, [&](Communicator& ranks) {
      at::set_num_threads(1);
      const auto teacher = Decoder::load(files_, torch::kFloat32);
      TeacherCache cache(folder, key, *teacher, windows, 8, {.communicator = &ranks});
      ranks.barrier();
    });
    auto& files = contents.emplace_back();
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (name != "lock") files[name] = read_text_file(entry.path());
    }
  }
  EXPECT_GE(contents[0].size(), 5u);  // four of windows
  EXPECT_EQ(contents[0], contents[1]);
}

}  // namespace
}  // namespace bitsmith
