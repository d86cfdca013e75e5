#include "compressor/tune/trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "checkpoint/safetensors.h"
#include "compressor/tune/test_trainer.h"
#include "compressor/tune/tuning_step.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

using Trainer = TrainerTest;

TEST_P(Trainer, InterruptedAgainAndAgainEndsWithTheSameBytes) {
  options_.strategy = GetParam();
  expect_same_bytes_in_parts();
}

INSTANTIATE_TEST_SUITE_P(Strategies, Trainer, testing::ValuesIn(code_rule_names()),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) {
                             if (c == '+' || c == '-') c = '_';
                           }
                           return name;
                         });

TEST_F(Trainer, EightBitStateGoesOnWithTheSameBytes) {
  options_.strategy = "pv+ste";
  options_.optimizer_state = MomentFormat::kEightBits;
  expect_same_bytes_in_parts();
}

TEST_F(Trainer, LambGoesOnWithTheSameBytes) {
  options_.p_step = {.optimizer = Optimizer::kLamb, .weight_decay = 0.01};
  expect_same_bytes_in_parts();
}

// State in files goes on as state in memory does, to the same end.
TEST_F(Trainer, OffloadedStateGivesTheSameBytes) {
  options_.strategy = "pv+ste";
  train_in("memory");
  StateFiles files(folder_);
  memory_ = &files;
  expect_same_bytes_in_parts();
  EXPECT_EQ(best("whole"), best("memory"));
}

TEST_F(Trainer, SchedulesAndClippingGoOnWithTheSameBytes) {
  options_.rates = {.schedule = Schedule::kCosine, .warmup_steps = 3};
  options_.max_gradient_norm = 1e-3;
  expect_same_bytes_in_parts();
}

// Longer ones are; shorter ones stay.
TEST_F(Trainer, GradientsAreScaledToTheirLargestNorm) {
  DecoderTeacher targets(*teacher_);
  const TrainingWindows windows = {torch::arange(2), data_.train.narrow(0, 0, 2)};
  const auto step = [&](Student& of, double largest) {
    return tuning_step(of, targets, windows, {.step = 1},
                       {.micro_windows = 2, .max_gradient_norm = largest});
  };
  const auto free = student(), clipped = student(), within = student();
  EXPECT_FALSE(step(*free, 0).gradient_norm);
  const double norm = free->gradient_norm();
  EXPECT_NEAR(*step(*clipped, norm / 8).gradient_norm, norm, 1e-5 * norm);
  EXPECT_NEAR(clipped->gradient_norm(), norm / 8, 1e-5 * norm);
  EXPECT_NEAR(*step(*within, 2 * norm).gradient_norm, norm, 1e-5 * norm);
  EXPECT_TRUE(torch::equal(within->linears().front().gradient, free->linears().front().gradient));
}

// What does not learn stays as it is, and out of what the result replaces.
TEST_F(Trainer, NormsStayWhereTheyAreSwitchedOff) {
  parts_.vectors.norms = false;
  const TuneResult result = train_in("matrices");
  EXPECT_LT(result.kl_after, result.kl_before);
  const SafetensorsFile best = open_safetensors(work("matrices") / "best.safetensors");
  for (const TensorView& tensor : best.tensors)
    EXPECT_EQ(tensor.name.find("norm"), std::string::npos) << tensor.name;
}

TEST_F(Trainer, EveryLossLowersTheKl) {
  options_.tokens = 30 * 64;
  for (const Loss loss : {Loss::kKlAndCrossEntropy, Loss::kJensenShannon}) {
    options_.loss.loss = loss;
    options_.loss.ce_weight = 0.01;  // the texts are random
    const TuneResult result = train_in(option_text(loss));
    EXPECT_LT(result.kl_after, result.kl_before) << option_text(loss);
    EXPECT_GT(result.validations.back().training_loss, 0);
  }
}

TEST_F(Trainer, AnEmbeddingLearnsWithTheBlocks) {
  outer_ = "int2g16+rows3";
  options_.tokens = 40 * 64;
  const auto tuned = student();
  const auto& embedding = tuned->linears().back();
  EXPECT_EQ(embedding.linear->name, files_->plan().embedding.name);
  EXPECT_NE(embedding.rule, nullptr);
  const auto before = embedding.representation().dequantize().detach().clone();
  DecoderTeacher targets(*teacher_);
  const TuneResult result = train(*tuned, *teacher_, targets, data_, options_, "request",
                                  work("outer"), log("outer"), context_);
  EXPECT_LT(result.kl_after, result.kl_before);
  EXPECT_GT((embedding.representation().dequantize() - before).abs().max().item<double>(), 0);
  const SafetensorsFile best = open_safetensors(work("outer") / "best.safetensors");
  for (const char* part : {"codes", "scales", "kept_rows", "kept_values"})
    EXPECT_NE(best.find(concat(files_->plan().embedding.name, ".", part)), nullptr) << part;
}

// Every part takes some time, that of the code rules in steps without a search too.
TEST_F(Trainer, AStepTellsWhereItsTimeGoes) {
  options_.code.schedule = {.p_steps = 2, .start = 0};
  const auto tuned = student();
  DecoderTeacher targets(*teacher_);
  for (int64_t step = 1; step <= 2; ++step) {
    const auto done = tuning_step(
        *tuned, targets, {torch::arange(2), data_.train.narrow(0, 2 * step, 2)}, {.step = step},
        {.micro_windows = 1, .learning_rate = 0.003, .schedule = options_.code.schedule});
    EXPECT_EQ(done.codes.has_value(), step == 2);
    for (size_t i = 0; i < kStepParts; ++i)
      EXPECT_GT(done.seconds[i], 0) << step_part_name(static_cast<StepPart>(i));
  }
  options_.tokens = 64;
  train_in("parts");
  std::ifstream in(log("parts"));
  int steps = 0;
  for (std::string line; std::getline(in, line);) {
    const Json json = Json::parse(line);
    if (!json.contains("tokens")) continue;
    ++steps;
    ASSERT_EQ(json.at("part_seconds").size(), kStepParts) << line;
    EXPECT_GT(json.at("part_seconds").at("backward").get<double>(), 0);
  }
  EXPECT_EQ(steps, 1);
}

// The paper's algorithm 2: what a step moves is either codes or everything else.
TEST_F(Trainer, PAndVStepsTakeTurns) {
  options_.code.schedule = {.p_steps = 2, .start = 0, .alternate = true};
  options_.code.subspace.trust_ratio = 1;
  const auto tuned = student();
  const auto copies = [&](bool of_codes) {
    std::vector<torch::Tensor> all;
    for (auto& linear : tuned->linears()) {
      if (of_codes) all.push_back(linear.representation().coded().codes().clone());
      for (auto& c : linear.continuous)
        if (!of_codes) all.push_back(c.value.detach().clone());
    }
    for (auto& norm : tuned->norms())
      if (!of_codes) all.push_back(norm.value.clone());
    return all;
  };
  const auto same = [](const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const auto& x, const auto& y) { return torch::equal(x, y); });
  };
  DecoderTeacher targets(*teacher_);
  for (int64_t step = 1; step <= 6; ++step) {
    const auto codes = copies(true), rest = copies(false);
    const auto done = tuning_step(
        *tuned, targets, {torch::arange(2), data_.train.narrow(0, 2 * step, 2)}, {.step = step},
        {.micro_windows = 2,
         .learning_rate = 0.003,
         .p_step = options_.p_step_options(),
         .schedule = options_.code.schedule});
    EXPECT_EQ(done.codes.has_value(), step % 3 == 0);
    EXPECT_EQ(same(codes, copies(true)), step % 3 != 0) << step;
    EXPECT_EQ(same(rest, copies(false)), step % 3 == 0) << step;
  }
}

TEST_F(Trainer, TheFirstValidationCanBeInterrupted) {
  cancel_.raise();
  EXPECT_THROW(train_in("first"), Interrupted);
  EXPECT_FALSE(fs::exists(work("first") / "state.safetensors"));
}

TEST_F(Trainer, AnotherRequestsStateIsRefused) {
  options_.tokens = 64;
  options_.checkpoint_minutes = 0;
  train_in("state");
  const auto tuned = student();
  DecoderTeacher targets(*teacher_);
  EXPECT_THROW(
      train(*tuned, *teacher_, targets, data_, options_, "other", work("state"), log("state")),
      Error);
}

TEST_F(Trainer, ADamagedStateIsRefused) {
  options_.tokens = 64;
  options_.checkpoint_minutes = 0;
  train_in("state");
  const fs::path path = work("state") / "state.safetensors";
  const auto refused = [&](const char* key, const std::string& value) {
    fs::create_directories(folder_ / key);
    const SafetensorsFile whole = open_safetensors(path);
    auto metadata = whole.metadata;
    metadata.at(key) = value;
    write_safetensors(folder_ / key / "state.safetensors", whole.tensors, metadata);
    try {
      train_in(key);
      FAIL() << key;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(concat("'", key, "' is damaged")), std::string::npos)
          << error.what();
    }
  };
  refused("step", "-3");
  refused("changed", "1e9");
  refused("best_kl", "small");
  refused("validations", "0 0 0x0p+0");
}

TEST_F(Trainer, DivergenceStopsWithTheBestKept) {
  options_.learning_rate = 1e38;
  const TuneResult result = train_in("diverged");
  EXPECT_TRUE(result.diverged);
  EXPECT_EQ(result.best_step, 0);
  EXPECT_EQ(result.kl_after, result.kl_before);
  const auto start = student();
  start->project();
  save_student_tensors(folder_ / "start.safetensors", *start);
  EXPECT_EQ(best("diverged"), read_text_file(folder_ / "start.safetensors"));
}

TEST_F(Trainer, TheBestIsKeptWhenLaterStepsAreWorse) {
  options_.strategy = "continuous";
  options_.learning_rate = 0.05;
  options_.rates.final_rate = 1.0;
  options_.tokens = 40 * 64;
  const TuneResult result = train_in("worse");
  EXPECT_FALSE(result.diverged);
  const auto all = validations("worse");
  ASSERT_GT(all.size(), 3u);
  const auto least = *std::min_element(
      all.begin(), all.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  ASSERT_GT(all.back().second, least.second) << "this run shows nothing";
  EXPECT_EQ(result.best_step, least.first);
  EXPECT_NEAR(result.kl_after, least.second, 1e-5 * least.second);
  ASSERT_EQ(result.validations.size(), all.size());
  EXPECT_EQ(result.validations.front().tokens, 0);
  EXPECT_EQ(result.validations.front().kl, result.kl_before);
  EXPECT_EQ(result.validations.back().tokens, result.tokens);
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(result.validations[i].step, all[i].first);
    EXPECT_NEAR(result.validations[i].kl, all[i].second, 1e-5 * all[i].second);
    EXPECT_EQ(result.validations[i].training_loss > 0, i > 0);
  }
  EXPECT_EQ(result.steps, 40);
}

}  // namespace
}  // namespace bitsmith
