// Passes over the blocks in a run.
#include "compressor/tune/code_pass.h"

#include <algorithm>
#include <string>
#include <vector>

#include "compressor/tune/test_trainer.h"

namespace bitsmith {
namespace {

using CodePasses = TrainerTest;

// Interrupted between the blocks of a pass, and between passes.
TEST_F(CodePasses, GoOnWithTheSameBytes) {
  options_.strategy = "second-pass";
  options_.pass = {.passes = 3, .tokens = 256, .held_out_tokens = 64, .solve = true};
  options_.checkpoint_minutes = 0;
  expect_same_bytes_in_parts();
}

TEST_F(CodePasses, ComeBetweenTheStepsAndAreValidated) {
  options_.strategy = "second-pass";
  options_.pass = {.passes = 2, .tokens = 256, .held_out_tokens = 64};
  const TuneResult result = train_in("passes");
  std::vector<int64_t> passes, steps_before;  // of each pass's lines
  int64_t step = 0;
  std::ifstream in(log("passes"));
  for (std::string line; std::getline(in, line);) {
    const Json json = Json::parse(line);
    if (json.contains("step")) step = json["step"];
    if (!json.contains("pass")) continue;
    passes.push_back(json["pass"]);
    steps_before.push_back(step);
    EXPECT_EQ(json["block"].get<size_t>(), (passes.size() - 1) % 4);
    EXPECT_GT(json["held_out_kl"].get<double>(), 0);
  }
  EXPECT_EQ(passes, (std::vector<int64_t>{1, 1, 1, 1, 2, 2, 2, 2}));  // four blocks
  EXPECT_EQ(steps_before, (std::vector<int64_t>{4, 4, 4, 4, 8, 8, 8, 8}));
  for (const int64_t at : {4, 8}) {
    EXPECT_TRUE(
        std::ranges::any_of(result.validations, [&](const Validation& v) { return v.step == at; }));
  }
  EXPECT_EQ(result.steps, 12);
}

}  // namespace
}  // namespace bitsmith
