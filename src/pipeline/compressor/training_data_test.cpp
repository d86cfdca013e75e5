#include "pipeline/compressor/training_data.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace bitsmith {
namespace {

TEST(TrainingData, OnlyTextOfTheModelsOwnTakesWriting) {
  const auto folder = std::filesystem::path(BITSMITH_TESTDATA) / "tiny_llama_trained";
  const auto model = ModelFiles::open(folder);
  RunContext context;
  context.threads = 1;
  EXPECT_GT(writing_seconds_a_token(*model, {}, context), 0);
  EXPECT_EQ(
      writing_seconds_a_token(*model, {.files = {(folder / "heldout.txt").string()}}, context), 0);
}

}  // namespace
}  // namespace bitsmith
