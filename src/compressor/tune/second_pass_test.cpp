#include "compressor/tune/second_pass.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "compressor/train/test_matrices.h"
#include "compressor/tune/held_out_kl.h"
#include "compressor/tune/test_students.h"
#include "compressor/tune/trainer.h"

namespace bitsmith {
namespace {

class SearchTowardOf : public testing::TestWithParam<const char*> {};

TEST_P(SearchTowardOf, NeverRaisesTheObjective) {
  torch::manual_seed(71);
  TrainedMatrix matrix(GetParam(), 48, 64);
  const torch::NoGradGuard no_grad;
  const auto weight = matrix.linear.representation->dequantize() + torch::randn({48, 64});
  const auto x = torch::randn({200, 64}) * torch::linspace(0.2, 2, 64);
  Objective objective(torch::matmul(x.t(), x) / 100);
  objective.output_factor = torch::rand({48}) + 0.1;
  objective.shift = 0.1 * torch::randn({48, 64});
  const auto error = [&] {
    return objective.error(weight - matrix.linear.representation->dequantize());
  };
  double before = error();
  for (const bool solve : {false, true, false}) {
    search_toward(matrix.tuned(), weight, objective, solve);
    EXPECT_LE(error(), before * (1 + 1e-4)) << "solve " << solve;
    before = error();
    EXPECT_TRUE(torch::equal(matrix.linear.weight, matrix.linear.representation->dequantize()));
  }
}

INSTANTIATE_TEST_SUITE_P(Representations, SearchTowardOf, testing::ValuesIn(kEveryRepresentation),
                         [](const auto& info) { return test_name(info.param); });

TEST(SearchToward, LowersTheObjectiveWhereCodesAreFarFromTheBest) {
  TrainedMatrix matrix("int3g16", 48, 64);  // random codes
  torch::manual_seed(72);
  const auto weight = torch::randn({48, 64});
  const auto cost = [&] {
    return Objective().error(weight - matrix.linear.representation->dequantize().detach());
  };
  const double before = cost();
  search_toward(matrix.tuned(), weight, Objective(torch::eye(64)), /*solve=*/false);
  EXPECT_LT(cost(), 0.8 * before);
}

class SecondPass : public testing::Test {
 protected:
  using Values = std::map<std::string, torch::Tensor>;
  static double kl(TinyStudent& tiny) {
    return validation_kl(tiny.student->decoder(), *tiny.teacher, tiny.held_out, 4);
  }
  static int64_t differences(const Values& a, const Values& b) {
    int64_t count = 0;
    for (const auto& [name, value] : a) {
      if (name.ends_with(".codes")) count += (value != b.at(name)).any(1).sum().item<int64_t>();
    }
    return count;
  }
  // A pass whose reports must be true.
  static std::vector<BlockOutcome> checked_pass(TinyStudent& tiny, const CodePassOptions& options) {
    std::vector<BlockOutcome> outcomes;
    double before = kl(tiny);
    Values values = tiny.student->save_values();
    second_pass(tiny.job(options), 0, [&](const BlockOutcome& outcome) {
      const Values now = tiny.student->save_values();
      EXPECT_EQ(outcome.block, std::ssize(outcomes));
      EXPECT_LE(outcome.kept, outcome.searched);
      EXPECT_NEAR(outcome.kl, kl(tiny), 1e-6 * before);
      EXPECT_EQ(outcome.changed, differences(values, now));
      if (outcome.kept == 0) {
        EXPECT_TRUE(same_values(values, now));
      } else {
        EXPECT_LT(outcome.kl, before * (1 + 1e-6));
      }
      outcomes.push_back(outcome);
      values = now;
      before = outcome.kl;
    });
    EXPECT_TRUE(same_values(values, tiny.student->save_values()));
    return outcomes;
  }
};

TEST_F(SecondPass, LowersTheKlBlockByBlock) {
  for (const char* representation : {"int2g16", "aq1x4g4", "had:int2g16+lr2"}) {
    for (const bool solve : {false, true}) {
      SCOPED_TRACE(concat(representation, solve ? " solve" : ""));
      TinyStudent tiny(representation, "second-pass");
      const double before = kl(tiny);
      const auto outcomes = checked_pass(tiny, {.solve = solve});
      EXPECT_EQ(std::ssize(outcomes), tiny.files->plan().num_blocks());
      EXPECT_LT(kl(tiny), before);
    }
  }
}

// Hessians of one token again and again say nothing of other text.
TEST_F(SecondPass, UndoesWhatHeldOutTextDoesNotBearOut) {
  TinyStudent tiny("int4g16", "second-pass");
  tiny.windows.fill_(3);
  int64_t searched = 0, kept = 0;
  for (const BlockOutcome& outcome : checked_pass(tiny, {.solve = true})) {
    searched += outcome.searched;
    kept += outcome.kept;
  }
  EXPECT_LT(kept, searched);
}

TEST_F(SecondPass, GoesOnAfterAnyBlockToTheSameBytes) {
  TinyStudent whole("int2g16", "second-pass");
  std::vector<Values> after;
  second_pass(whole.job(), 0,
              [&](const BlockOutcome&) { after.push_back(whole.student->save_values()); });
  for (size_t blocks = 1; blocks < after.size(); ++blocks) {
    TinyStudent part("int2g16", "second-pass");
    part.student->restore_values(after[blocks - 1]);
    part.student->refresh();
    second_pass(part.job(), static_cast<int64_t>(blocks), [](const BlockOutcome&) {});
    EXPECT_TRUE(same_values(part.student->save_values(), after.back())) << blocks;
  }
}

TEST_F(SecondPass, AnInterruptedBlockIsAsItWas) {
  for (const double stop : {0.05, 0.3, 0.5, 0.8}) {
    TinyStudent tiny("int2g16", "second-pass");
    Values last = tiny.student->save_values();
    CodePassJob job = tiny.job();
    job.progress = [&](double share, const std::string&) {
      if (share >= stop) throw Interrupted("test");
    };
    EXPECT_THROW(
        second_pass(job, 0, [&](const BlockOutcome&) { last = tiny.student->save_values(); }),
        Interrupted);
    EXPECT_TRUE(same_values(last, tiny.student->save_values())) << stop;
    for (TunedLinear& tuned : tiny.student->linears())
      EXPECT_TRUE(torch::equal(tuned.linear->weight, tuned.representation().dequantize()));
  }
}

}  // namespace
}  // namespace bitsmith
