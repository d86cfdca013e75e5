#include "compressor/quantize_model/output_gradients.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "compressor/objective/hessian_sum.h"
#include "compressor/quantize_model/sampled_loss.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

std::shared_ptr<const ModelFiles> tiny(const std::string& name) {
  return ModelFiles::open(fs::path(BITSMITH_TESTDATA) / name);
}

std::set<std::string> all_linears(const ModelPlan& plan) {
  std::set<std::string> names;
  for (const BlockPlan& block : plan.blocks) {
    for (const LinearPlan* linear : linears(block)) names.insert(linear->name);
  }
  return names;
}

OutputGradients gradients_of(const std::shared_ptr<const ModelFiles>& files,
                             const torch::Tensor& windows, GradientPassOptions options = {}) {
  const auto decoder = Decoder::load_without_blocks(files, torch::kFloat32);
  return output_gradients(*decoder, windows, all_linears(files->plan()), options, [](double) {});
}

// The loss that the gradients are of, with one output of one linear for one token moved.
class MovedLoss {
 public:
  MovedLoss(const std::shared_ptr<const ModelFiles>& files, torch::Tensor window)
      : decoder_(Decoder::load(files, torch::kFloat32)), window_(std::move(window)) {
    const auto hidden = decoder_->hidden_states(window_)[0];
    labels_ = sampled_loss(hidden, decoder_->head(), label_uniforms(0, 0, 1, window_.size(1)))
                  .labels.unsqueeze(1);
  }
  Linear& linear(const std::string& module) const {
    for (const auto& block : decoder_->blocks()) {
      for (Linear* linear : block->linears()) {
        if (linear->name == module) return *linear;
      }
    }
    throw Error("no such linear");
  }
  double operator()() const {
    const auto logits = decoder_->head().logits(decoder_->hidden_states(window_)[0]);
    return -torch::log_softmax(logits.to(torch::kDouble), -1)
                .gather(1, labels_)
                .sum()
                .item<double>();
  }
  // dL/dy of the row'th output for a token, by finite differences. `token`: among those that the
  // linear gets.
  double slope(Linear& linear, int64_t token, int64_t row) const {
    constexpr double kStep = 5e-3;
    double difference = 0;
    for (const double sign : {1.0, -1.0}) {
      linear.observer = [&](const torch::Tensor&, const torch::Tensor& y) {
        y.view({-1, y.size(-1)})[token][row].add_(sign * kStep);
      };
      difference += sign * (*this)();
    }
    linear.observer = nullptr;
    return difference / (2 * kStep);
  }

 private:
  std::unique_ptr<Decoder> decoder_;
  torch::Tensor window_, labels_;
};

TEST(OutputGradients, EqualFiniteDifferencesOfTheLoss) {
  for (const char* name :
       {"tiny_llama", "families/tiny_gemma2", "families/tiny_gpt_neox", "families/tiny_mixtral"}) {
    SCOPED_TRACE(name);
    const torch::NoGradGuard no_grad;
    const auto files = tiny(name);
    torch::manual_seed(63);
    const auto window = torch::randint(files->plan().vocab_size, {1, 9}, torch::kInt64);
    const OutputGradients gradients = gradients_of(files, window);
    const MovedLoss loss(files, window);
    for (const LinearPlan* plan : linears(files->plan().blocks[0])) {
      SCOPED_TRACE(plan->name);
      const LinearGradients& own = gradients.at(plan->name);
      ASSERT_EQ(own.tokens.sizes(), (std::vector<int64_t>{1, 9}));
      ASSERT_EQ(own.rows.sizes(), (std::vector<int64_t>{plan->out_features}));
      const auto there = (own.tokens[0] >= 0).nonzero().flatten();  // tokens that the linear gets
      if (there.numel() == 0) continue;                             // an expert without any
      Linear& linear = loss.linear(plan->name);
      const int64_t place = there.numel() / 2;
      double squares = 0;
      for (int64_t row = 0; row < plan->out_features; ++row)
        squares += std::pow(loss.slope(linear, place, row), 2);
      const auto of_token = own.tokens[0][there[place].item<int64_t>()].item<double>();
      EXPECT_NEAR(squares / static_cast<double>(plan->out_features), of_token,
                  0.03 * of_token + 1e-6);
      const int64_t row = plan->out_features / 3;
      squares = 0;
      for (int64_t token = 0; token < there.numel(); ++token)
        squares += std::pow(loss.slope(linear, token, row), 2);
      EXPECT_NEAR(squares / static_cast<double>(there.numel()), own.rows[row].item<double>(),
                  0.03 * own.rows[row].item<double>() + 1e-6);
    }
  }
}

TEST(OutputGradients, PartsJoinToTheWhole) {
  const auto files = tiny("families/tiny_mixtral");
  torch::manual_seed(64);
  const auto windows = torch::randint(files->plan().vocab_size, {5, 12}, torch::kInt64);
  const OutputGradients whole = gradients_of(files, windows);
  const OutputGradients chunked = gradients_of(files, windows, {.batch_tokens = 12});
  const OutputGradients first = gradients_of(files, windows.slice(0, 0, 2)),
                        second = gradients_of(files, windows.slice(0, 2), {.first_window = 2});
  EXPECT_EQ(whole.size(), all_linears(files->plan()).size());
  for (const auto& [module, own] : whole) {
    SCOPED_TRACE(module);
    EXPECT_TRUE(torch::allclose(chunked.at(module).tokens, own.tokens, 1e-3, 1e-6));
    const LinearGradients both = joined({first.at(module), second.at(module)});
    EXPECT_TRUE(torch::allclose(both.tokens, own.tokens, 1e-3, 1e-6));
    EXPECT_TRUE(torch::allclose(both.rows, own.rows, 1e-3, 1e-6));
  }
  const OutputGradients again = gradients_of(files, windows);
  const OutputGradients other = gradients_of(files, windows, {.seed = 1});
  for (const auto& [module, own] : whole) {
    EXPECT_TRUE(torch::equal(again.at(module).tokens, own.tokens)) << module;
    EXPECT_TRUE(torch::equal(again.at(module).rows, own.rows)) << module;
  }
  const std::string& first_module = whole.begin()->first;
  EXPECT_FALSE(torch::equal(other.at(first_module).tokens, whole.at(first_module).tokens));
}

SecondMoments moments_of(const std::shared_ptr<const ModelFiles>& files,
                         const torch::Tensor& windows, const std::set<std::string>& modules,
                         GradientPassOptions options) {
  const auto decoder = Decoder::load_without_blocks(files, torch::kFloat32);
  SecondMoments all;
  int64_t last = files->plan().num_blocks();
  output_gradients(
      *decoder, windows, modules, options, [](double) {},
      [&](int64_t block, const SecondMoments& moments) {
        EXPECT_LT(block, last);
        last = block;
        all.insert(moments.begin(), moments.end());
      });
  EXPECT_EQ(all.size(), modules.size());
  return all;
}

TEST(OutputGradients, SecondMomentsAreThoseOfFiniteDifferences) {
  const torch::NoGradGuard no_grad;
  constexpr double kDamping = 0.02;
  const auto files = tiny("tiny_llama");
  torch::manual_seed(67);
  const auto window = torch::randint(files->plan().vocab_size, {1, 9}, torch::kInt64);
  const MovedLoss loss(files, window);
  Linear& linear = loss.linear(files->plan().blocks[0].attention.inputs[1].name);
  torch::Tensor x;
  linear.observer = [&](const torch::Tensor& inputs, const torch::Tensor&) {
    x = inputs.reshape({-1, linear.in_features});
  };
  loss();
  auto g = torch::zeros({window.numel(), linear.out_features});
  for (int64_t token = 0; token < g.size(0); ++token) {
    for (int64_t row = 0; row < g.size(1); ++row) g[token][row] = loss.slope(linear, token, row);
  }
  const auto moment_of = [](const torch::Tensor& samples) {
    HessianSum sum(samples.size(1));
    sum.add(samples);
    return sum.hessian();
  };
  const auto filter = feedback_matrix(moment_of(x), kDamping);
  const auto window_gradient = torch::matmul(g.t(), x);  // of the loss by the weights
  const std::map<GradientSamples, torch::Tensor> expected = {
      {GradientSamples::kTokens, moment_of(g)},
      {GradientSamples::kWindows, moment_of(torch::matmul(filter, window_gradient.t()))}};
  for (const auto& [samples, matrix] : expected) {
    const SecondMoments moments =
        moments_of(files, window, {linear.name}, {.samples = samples, .damping = kDamping});
    const SecondMoment& own = moments.at(linear.name);
    EXPECT_EQ(own.weight,
              samples == GradientSamples::kTokens ? window.numel() : linear.in_features);
    EXPECT_LT((own.matrix - matrix).norm().item<double>(), 0.08 * matrix.norm().item<double>());
  }
}

TEST(OutputGradients, SecondMomentsOfTokensHangOnTokensOnly) {
  const auto files = tiny("families/tiny_mixtral");
  torch::manual_seed(68);
  const auto windows = torch::randint(files->plan().vocab_size, {5, 12}, torch::kInt64);
  const std::set<std::string> modules = all_linears(files->plan());
  const auto of = [&](const torch::Tensor& some, GradientPassOptions options) {
    options.samples = GradientSamples::kTokens;
    return moments_of(files, some, modules, options);
  };
  const SecondMoments whole = of(windows, {}), chunked = of(windows, {.batch_tokens = 12});
  const SecondMoments first = of(windows.slice(0, 0, 2), {}),
                      second = of(windows.slice(0, 2), {.first_window = 2});
  const OutputGradients gradients = gradients_of(files, windows);
  for (const auto& [module, own] : whole) {
    SCOPED_TRACE(module);
    const double tolerance = 1e-5 * own.matrix.abs().max().item<double>() + 1e-12;
    EXPECT_TRUE(torch::allclose(chunked.at(module).matrix, own.matrix, 1e-3, tolerance));
    const SecondMoment both = joined(first.at(module), second.at(module));
    EXPECT_TRUE(torch::allclose(both.matrix, own.matrix, 1e-3, tolerance));
    EXPECT_EQ(both.weight, own.weight);
    // On the diagonal are the squares that weigh rows.
    EXPECT_TRUE(
        torch::allclose(own.matrix.diagonal() / 2, gradients.at(module).rows, 1e-3, tolerance));
  }
}

// Windows do not run into each other, and an expert's tokens are found.
TEST(OutputGradients, SecondMomentsOfWindowsAddUp) {
  const auto files = tiny("families/tiny_mixtral");
  torch::manual_seed(69);
  const auto windows = torch::randint(files->plan().vocab_size, {4, 12}, torch::kInt64);
  const std::set<std::string> modules = all_linears(files->plan());
  const GradientPassOptions options = {.samples = GradientSamples::kWindows};
  GradientPassOptions one_by_one = options;
  one_by_one.batch_tokens = 12;
  const SecondMoments together = moments_of(files, windows, modules, options),
                      apart = moments_of(files, windows, modules, one_by_one);
  for (const auto& [module, own] : together) {
    SCOPED_TRACE(module);
    const double tolerance = 1e-4 * own.matrix.abs().max().item<double>() + 1e-12;
    EXPECT_TRUE(torch::allclose(apart.at(module).matrix, own.matrix, 1e-2, tolerance));
    EXPECT_EQ(apart.at(module).weight, own.weight);
  }
}

TEST(OutputGradients, GroupsOfRowsHaveTheirOwn) {
  const auto files = tiny("families/tiny_mixtral");
  torch::manual_seed(70);
  const auto windows = torch::randint(files->plan().vocab_size, {3, 12}, torch::kInt64);
  const OutputGradients whole = gradients_of(files, windows),
                        halves = gradients_of(files, windows, {.row_groups = 2});
  for (const auto& [module, own] : whole) {
    SCOPED_TRACE(module);
    const LinearGradients& parts = halves.at(module);
    ASSERT_EQ(parts.tokens.size(0), 2);
    EXPECT_TRUE(torch::allclose(parts.tokens.mean(0), own.tokens[0], 1e-4, 1e-8));
    EXPECT_TRUE(torch::equal(parts.rows, own.rows));
    // Over all tokens a group has the mean of its rows.
    const auto there = own.tokens[0] >= 0;
    if (!there.any().item<bool>()) continue;
    for (int64_t group = 0; group < 2; ++group) {
      const double of_tokens = parts.tokens[group].masked_select(there).mean().item<double>();
      EXPECT_NEAR(own.rows.chunk(2)[group].mean().item<double>(), of_tokens,
                  1e-3 * of_tokens + 1e-9);
    }
  }
}

TEST(OutputGradients, OnlyTokensOfAnExpertHaveAGradient) {
  const torch::NoGradGuard no_grad;
  const auto files = tiny("families/tiny_mixtral");
  torch::manual_seed(65);
  const auto windows = torch::randint(files->plan().vocab_size, {3, 16}, torch::kInt64);
  const OutputGradients gradients = gradients_of(files, windows);
  const BlockPlan& block = files->plan().blocks[0];
  int64_t routed = 0;
  for (const MlpPlan& expert : block.experts->experts) {
    const auto there = gradients.at(expert.output.name).tokens >= 0;
    EXPECT_TRUE(torch::equal(there, gradients.at(expert.inputs[0].name).tokens >= 0));
    routed += there.sum().item<int64_t>();
  }
  EXPECT_EQ(routed, windows.numel() * block.experts->experts_per_token);
}

TEST(TokenWeights, HaveAMeanOfOne) {
  const LinearGradients gradients{torch::tensor({{2.f, 0.f, kNoGradient, 4.f}}),
                                  torch::tensor({0.f, 3.f})};
  EXPECT_TRUE(torch::equal(token_weights(gradients, 0, 1), torch::tensor({1.f, 0.f, 1.f, 2.f})));
  EXPECT_TRUE(
      torch::equal(token_weights(gradients, 0, 0.5), torch::tensor({1.f, 0.5f, 1.f, 1.5f})));
  EXPECT_TRUE(torch::equal(token_weights(gradients, 0, 0), torch::ones({4})));
  EXPECT_TRUE(torch::equal(row_weights(gradients), torch::tensor({kLeastRowWeight, 2.f})));
  const LinearGradients none{torch::full({1, 3}, kNoGradient), torch::zeros({2})};
  EXPECT_TRUE(torch::equal(token_weights(none, 0, 1), torch::ones({3})));
  EXPECT_TRUE(torch::equal(row_weights(none), torch::ones({2})));
}

TEST(OutputGradients, StopsWhereProgressThrows) {
  const auto files = tiny("tiny_llama");
  const auto windows = torch::zeros({2, 8}, torch::kInt64);
  const auto decoder = Decoder::load_without_blocks(files, torch::kFloat32);
  double last = 0;
  EXPECT_THROW(output_gradients(*decoder, windows, all_linears(files->plan()), {},
                                [&](double share) {
                                  EXPECT_GE(share, last);
                                  last = share;
                                  if (share > 0.6) throw Interrupted("stop");
                                }),
               Interrupted);
  EXPECT_LE(last, 1);
}

}  // namespace
}  // namespace bitsmith
