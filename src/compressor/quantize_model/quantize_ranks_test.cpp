// Quantizing a model on several ranks is quantizing it in one process.
#include <gtest/gtest.h>

#include "base/test_ranks.h"
#include "compressor/quantize_model/test_quantize_model.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

class RanksQuantize : public testing::QuantizeModelTest {
 protected:
  RanksQuantize() { options_.batch_tokens = 64; }  // two windows at a time: twelve chunks

  void quantize_on(int size, const std::string& name, const std::string& out) {
    const auto files = model(name);
    const TokenDataset windows = data(*files, 23);
    test_ranks::run_ranks(size, [&](Communicator& ranks) {
      at::set_num_threads(1);
      RunContext context{.cancel = &cancel_, .communicator = &ranks};
      if (ranks.first()) context.progress = progress_;
      WorkFolder work(folder_ / out, /*force=*/false,
                      quantize_request(*files, options_, {{"command", "test"}}), ranks);
      quantize_model(files, windows, options_, work, folder_ / (out + ".jsonl"), context);
      ranks.barrier();
    });
  }
  void expect_same(const std::string& name) {
    quantize_on(1, name, "1");
    const auto alone = testing::folder_hashes(folder_ / "1");
    for (const int size : {2, 3, 14}) {  // the last has ranks without windows and without matrices
      quantize_on(size, name, std::to_string(size));
      EXPECT_EQ(testing::folder_hashes(folder_ / std::to_string(size)), alone) << size;
    }
  }
};

TEST_F(RanksQuantize, MatricesOfASiteAreDealt) { expect_same("tiny_llama"); }

TEST_F(RanksQuantize, MatricesOfABlockAreDealt) {
  options_.cross_term = 0;
  expect_same("tiny_llama");
}

TEST_F(RanksQuantize, AdditiveCodes) {
  options_.cross_term = 0;
  options_.representation = parse_representation("aq1x4g8");
  expect_same("tiny_qwen3");
}

TEST_F(RanksQuantize, HalvesOfTheWindows) {
  options_.estimate_cross_term = options_.shrink_hessian = true;
  expect_same("tiny_llama");
}

TEST_F(RanksQuantize, ObjectivesOfTheEndLoss) {
  options_.objective = ErrorMeasure::kGuided;
  options_.guided_groups = 2;
  options_.row_weights = RowWeights::kGuided;
  options_.cross_term = 0;
  expect_same("tiny_llama");
}

TEST_F(RanksQuantize, FullOutputFactors) {
  options_.objective = ErrorMeasure::kKronecker;
  expect_same("tiny_llama");
}

TEST_F(RanksQuantize, Experts) {
  options_.cross_term = 0;
  expect_same("families/tiny_qwen3_moe");
}

TEST_F(RanksQuantize, ExpertsBesideTheOriginal) {
  options_.cross_term = 1;
  expect_same("families/tiny_mixtral");
}

TEST_F(RanksQuantize, AHeadAfterTheBlocks) {
  options_.embedding = {.representation = parse_representation("int4g16")};
  expect_same("tiny_qwen3");
}

// Stops when the first block is done.
struct StopAtASecondBlock : ProgressSink {
  explicit StopAtASecondBlock(CancelFlag& flag) : flag(flag) {}
  void begin(const std::string&) override {}
  void update(double, const std::string& detail) override {
    if (detail.starts_with("1/")) flag.raise();
  }
  void end() override {}
  CancelFlag& flag;
};

TEST_F(RanksQuantize, AnotherNumberOfRanksGoesOn) {
  quantize_on(1, "tiny_llama", "whole");
  StopAtASecondBlock stop(cancel_);
  progress_ = &stop;
  EXPECT_THROW(quantize_on(3, "tiny_llama", "parts"), Error);  // Interrupted, where it came first
  progress_ = nullptr;
  cancel_.clear();
  EXPECT_TRUE(fs::exists(folder_ / "parts.partial" / "block-00000.safetensors"));
  quantize_on(2, "tiny_llama", "parts");
  EXPECT_EQ(testing::folder_hashes(folder_ / "parts"), testing::folder_hashes(folder_ / "whole"));
}

}  // namespace
}  // namespace bitsmith
