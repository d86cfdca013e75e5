// What tests of training runs have in common: a tiny student, its text, and a folder for each run.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "compressor/train/test_matrices.h"
#include "compressor/tune/trainer.h"

namespace bitsmith {

class TrainerTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / concat("trainer_", ::getpid());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    at::set_num_threads(1);  // the matrices are tiny
    files_ = ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_llama_trained");
    teacher_ = Decoder::load(files_, torch::kFloat32);
    torch::manual_seed(1);
    data_.train = torch::randint(files_->plan().vocab_size, {24, 32}, torch::kInt64);
    data_.validation = torch::randint(files_->plan().vocab_size, {4, 32}, torch::kInt64);
    options_.tokens = 12 * 64;  // 12 steps
    options_.batch_tokens = 64;
    options_.micro_tokens = 32;
    options_.code.schedule = {.p_steps = 2, .start = 0.3};
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<Student> student() {
    auto decoder = Decoder::load(files_, torch::kFloat32);
    for (const auto& block : decoder->blocks()) {
      for (Linear* linear : block->linears()) quantize_to_nearest(*linear, "int2g16");
    }
    if (!outer_.empty()) {
      for (Linear* linear : decoder->outer_linears()) quantize_to_nearest(*linear, outer_);
    }
    return std::make_unique<Student>(
        std::move(decoder), *teacher_,
        code_rule_factory(options_.strategy, options_.code_options(), 0, *memory_), parts_,
        *memory_);
  }
  std::filesystem::path work(const std::string& name) {
    std::filesystem::create_directories(folder_ / name);
    return folder_ / name;
  }
  std::filesystem::path log(const std::string& name) { return folder_ / (name + ".jsonl"); }
  TuneResult train_in(const std::string& name) {
    const auto tuned = student();
    DecoderTeacher targets(*teacher_, options_.loss.temperature);
    return train(*tuned, *teacher_, targets, data_, options_, "request", work(name), log(name),
                 context_);
  }
  size_t lines(const std::string& name) {
    std::ifstream in(log(name));
    return static_cast<size_t>(std::count(std::istreambuf_iterator<char>(in), {}, '\n'));
  }
  std::string best(const std::string& name) {
    return read_text_file(work(name) / "best.safetensors");
  }
  // step -> KL of every validation that the log has.
  std::vector<std::pair<int64_t, double>> validations(const std::string& name) {
    std::vector<std::pair<int64_t, double>> found;
    std::ifstream in(log(name));
    for (std::string line; std::getline(in, line);) {
      const Json json = Json::parse(line);
      if (json.contains("validation_kl")) found.emplace_back(json["step"], json["validation_kl"]);
    }
    return found;
  }

  static std::vector<std::array<double, 3>> points(const TuneResult& result) {
    std::vector<std::array<double, 3>> all;
    for (const Validation& v : result.validations)
      all.push_back({static_cast<double>(v.tokens), v.training_loss, v.kl});
    return all;
  }

  // A whole run, and one that is cancelled two lines of the log after each start, until a session
  // reaches the end.
  void expect_same_bytes_in_parts() {
    const TuneResult whole = train_in("whole");
    int sessions = 0;
    for (bool ended = false; !ended; ++sessions) {
      ASSERT_LT(sessions, 40);
      const size_t begin = lines("parts");
      std::atomic<bool> over = false;
      std::thread watcher([&] {
        while (!over && lines("parts") < begin + 2) {
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        if (!over) cancel_.raise();
      });
      try {
        const TuneResult parts = train_in("parts");
        ended = true;
        EXPECT_EQ(parts.kl_after, whole.kl_after);
        EXPECT_EQ(parts.best_step, whole.best_step);
        EXPECT_EQ(parts.codes_changed, whole.codes_changed);
        EXPECT_EQ(points(parts), points(whole));
      } catch (const Interrupted&) {
      }
      over = true;
      watcher.join();
      cancel_.clear();
    }
    EXPECT_GT(sessions, 2);
    EXPECT_EQ(best("parts"), best("whole"));
    EXPECT_LT(whole.kl_after, whole.kl_before);
  }

  std::filesystem::path folder_;
  std::shared_ptr<const ModelFiles> files_;
  std::unique_ptr<Decoder> teacher_;
  TokenDataset data_;
  TuneOptions options_;
  TrainedParts parts_;
  StateMemory* memory_ = &StateMemory::plain();
  std::string outer_;  // representation of the embedding; empty: it is not trained
  CancelFlag cancel_;
  RunContext context_{.cancel = &cancel_};
};

}  // namespace bitsmith
