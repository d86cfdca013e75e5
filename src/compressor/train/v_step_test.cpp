#include "compressor/train/v_step.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/error.h"
#include "compressor/train/test_matrices.h"

namespace bitsmith {
namespace {

double root_mean_square_of(const torch::Tensor& t) {
  return t.square().mean().sqrt().item<double>();
}

class VStep : public testing::TestWithParam<std::tuple<const char*, Sampling>> {
 protected:
  const std::unique_ptr<Representation> representation_ =
      random_representation(std::get<0>(GetParam()), 48, 64);
  CodedTerm& term_ = representation_->coded();
  const torch::Tensor before_ = term_.dequantize().detach().clone();
  const torch::Tensor codes_before_ = term_.codes().clone();
  const double distance_ = root_mean_square_of(before_);
  const Sampling sampling_ = std::get<1>(GetParam());

  torch::Tensor changed_codes() const {
    return (term_.codes() != codes_before_).any(1).nonzero().squeeze(1);
  }
};

TEST_P(VStep, KeepsTheTrustRegionAndGoesDownhill) {
  torch::manual_seed(4);
  const auto update = -distance_ * torch::randn({48, 64});
  const SubspaceOptions options{
      .sampling = sampling_, .trust_ratio = 0.15, .chunk = 0.02, .max_chunks = 50};
  const VStepResult result = v_step(term_, update, distance_, options);
  const auto change = term_.dequantize().detach() - before_;
  const double change_rms = root_mean_square_of(change);
  EXPECT_GT(result.changed.numel(), 0);
  EXPECT_LE(change_rms, options.trust_ratio * distance_ * (1 + 1e-5));
  EXPECT_NEAR(change_rms, result.change, 1e-5);
  // Nearest codes to W + update: the linearized objective falls.
  EXPECT_GT((change * update).sum().item<double>(), 0.0);
  EXPECT_TRUE(torch::equal(changed_codes(), std::get<0>(result.changed.sort())));
}

TEST_P(VStep, ChangesNothingWithoutAnUpdate) {
  v_step(term_, torch::zeros({48, 64}), 0.1, {.sampling = sampling_});
  EXPECT_TRUE(torch::equal(term_.dequantize().detach(), before_));
}

TEST_P(VStep, OneCodeGroupMayAlwaysChange) {
  torch::manual_seed(6);
  const auto update = 3 * distance_ * torch::randn({48, 64});
  const auto result = v_step(term_, update, distance_, {.sampling = sampling_, .trust_ratio = 0});
  EXPECT_EQ(result.changed.numel(), 1);
  EXPECT_EQ(changed_codes().numel(), 1);
}

TEST_P(VStep, OutsideTheSubspaceNothingChanges) {
  torch::manual_seed(5);
  const auto update = 3 * distance_ * torch::randn({48, 64});
  const int64_t g = term_.code_group_size(), code_groups = term_.num_code_groups();
  const CodeDraws draws{.seed = 2, .matrix = 3};
  const auto importance = update.reshape({code_groups, g}).square().sum(1);
  Random random = draws.at(7);
  const auto chosen = choose_subspace(importance, (code_groups + 19) / 20, sampling_, random);
  v_step(term_, update, distance_,
         {.sampling = sampling_, .trust_ratio = 1e3, .chunk = 0.05, .max_chunks = 1}, draws.at(7));
  auto change = (term_.dequantize().detach() - before_).reshape({code_groups, g});
  EXPECT_GT(change.abs().max().item<double>(), 0);
  change.index_fill_(0, chosen, 0);
  EXPECT_EQ(change.abs().max().item<double>(), 0);
}

INSTANTIATE_TEST_SUITE_P(
    Representations, VStep,
    testing::Combine(testing::ValuesIn(kEveryRepresentation),
                     testing::Values(Sampling::kNorm, Sampling::kUniform, Sampling::kProportional)),
    [](const auto& info) {
      return test_name(concat(std::get<0>(info.param), "_", option_text(std::get<1>(info.param))));
    });

// Without a trust region and in one chunk: the nearest code of every code group.
TEST(VStepOfEverything, FindsTheCodesThatTryingAllFinds) {
  for (const auto& [spec, count] : {std::pair{"aq1x4g4", 16}, std::pair{"int3g16", 8}}) {
    TrainedMatrix matrix(spec, 16, 16);
    CodedTerm& term = matrix.term();
    torch::manual_seed(7);
    const auto update = 0.2 * torch::randn({16, 16});
    const auto target = term.dequantize().detach() + update;
    v_step(term, update, 0.1, {.trust_ratio = 1e6, .chunk = 1.0, .max_chunks = 1});
    const auto expected = nearest_codes_by_trial(term, target, count);
    const auto code_groups = torch::arange(term.num_code_groups());
    EXPECT_TRUE(torch::equal(term.decode_code_groups(code_groups, term.codes()),
                             term.decode_code_groups(code_groups, expected)))
        << spec;
  }
}

TEST(ChooseSubspace, DrawsWithoutReplacementAndLeavesWhatDoesNotMoveForLast) {
  auto importance = torch::ones({50});
  importance.narrow(0, 10, 20).zero_();
  for (const Sampling sampling : {Sampling::kNorm, Sampling::kUniform, Sampling::kProportional}) {
    Random random(5);
    const auto chosen = choose_subspace(importance, 30, sampling, random);
    const auto* at = chosen.const_data_ptr<int64_t>();
    EXPECT_EQ(std::set<int64_t>(at, at + 30).size(), 30u);
    if (sampling == Sampling::kUniform) continue;
    EXPECT_EQ(importance.index_select(0, chosen).sum().item<double>(), 30);
  }
}

// The first one drawn: by norms, whose squares are 1, 4, 9, 36.
TEST(ChooseSubspace, FirstDrawsAreAsFrequentAsTheNamesSay) {
  const auto importance = torch::tensor({1.0f, 4.0f, 9.0f, 36.0f});
  const auto frequencies = [&](Sampling sampling) {
    constexpr int kDraws = 6000;
    std::vector<double> counts(4);
    for (int step = 0; step < kDraws; ++step) {
      Random random = CodeDraws{.seed = 1, .matrix = 2}.at(step);
      counts[choose_subspace(importance, 1, sampling, random).item<int64_t>()] += 1.0 / kDraws;
    }
    return counts;
  };
  const auto uniform = frequencies(Sampling::kUniform);
  const auto proportional = frequencies(Sampling::kProportional);
  const double norms[] = {1, 2, 3, 6};
  for (int i = 0; i < 4; ++i) {
    EXPECT_NEAR(uniform[i], 0.25, 0.03);  // five standard deviations
    EXPECT_NEAR(proportional[i], norms[i] / 12, 0.033);
  }
  EXPECT_NEAR(frequencies(Sampling::kNorm)[3], 1, 1e-9);
}

TEST(CodeDraws, AreAFunctionOfSeedMatrixAndStep) {
  const auto first = [](uint64_t seed, int64_t matrix, int64_t step) {
    return CodeDraws{.seed = seed, .matrix = matrix}.at(step).next();
  };
  EXPECT_EQ(first(1, 2, 3), first(1, 2, 3));
  std::set<uint32_t> all;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    for (int64_t matrix = 0; matrix < 4; ++matrix) {
      for (int64_t step = 0; step < 4; ++step) all.insert(first(seed, matrix, step));
    }
  }
  EXPECT_EQ(all.size(), 64u);
}

TEST(SamplingNames, AreReadAsWritten) {
  for (const Sampling sampling : {Sampling::kNorm, Sampling::kUniform, Sampling::kProportional}) {
    Sampling read = Sampling::kNorm;
    parse_option(option_text(sampling), read);
    EXPECT_EQ(read, sampling);
  }
  Sampling none;
  EXPECT_THROW(parse_option("greedy", none), UsageError);
}

}  // namespace
}  // namespace bitsmith
