#include "compressor/train/gradient_pass.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "compressor/train/test_matrices.h"

namespace bitsmith {
namespace {

// What was collected is what autograd gives for `loss`.
void expect_gradients_of(const torch::Tensor& loss, TunedBlocks& tuned) {
  std::vector<torch::Tensor> weights;
  for (const TunedLinear& linear : tuned.linears()) weights.push_back(linear.linear->weight);
  const auto wanted = torch::autograd::grad({loss}, weights);
  for (size_t i = 0; i < weights.size(); ++i) {
    const TunedLinear& linear = tuned.linears()[i];
    EXPECT_LT((linear.gradient - wanted[i]).norm().item<double>(),
              1e-3 * wanted[i].norm().item<double>())
        << linear.linear->name;
  }
}

class OuterGradients : public testing::TestWithParam<const char*> {};

// Embedding and head, one matrix or two: what autograd gives where the whole loss is one graph.
TEST_P(OuterGradients, AreThoseOfBothUses) {
  const auto files = ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / GetParam());
  const auto teacher = Decoder::load(files, torch::kFloat32);
  const auto student = Decoder::load(files, torch::kFloat32);
  TunedBlocks tuned;
  for (Linear* linear : student->outer_linears()) {
    quantize_to_nearest(*linear, "int3g16");
    tuned.add(*linear, torch::kFloat32);
  }
  ASSERT_EQ(tuned.linears().size(), files->plan().tied ? 1u : 2u);
  torch::manual_seed(2);
  const auto ids = torch::randint(files->plan().vocab_size, {4, 16}, torch::kInt64);
  DecoderTeacher source(*teacher);
  const double kl =
      gradient_pass(tuned, *student, source, {torch::arange(4), ids}, /*micro_windows=*/3);

  const auto log_p = [&] {
    const torch::NoGradGuard no_grad;
    return torch::log_softmax(teacher->head().logits(teacher->hidden_states(ids)), -1);
  }();
  const auto log_q =
      torch::log_softmax(torch::linear(student->hidden_states(ids), student->head().weight), -1);
  const auto loss = (log_p.exp() * (log_p - log_q)).sum() / static_cast<double>(ids.numel());
  EXPECT_NEAR(kl, loss.item<double>(), 1e-4 * kl);
  expect_gradients_of(loss, tuned);
}

// The mean over the tokens that another follows, however the windows are dealt to micro-batches.
TEST(GradientPass, CrossEntropyIsThatOfTheNextTokens) {
  const auto files = ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_llama");
  const auto student = Decoder::load(files, torch::kFloat32);
  TunedBlocks tuned;
  for (Linear* linear : student->blocks().front()->linears()) {
    quantize_to_nearest(*linear, "int3g16");
    tuned.add(*linear, torch::kFloat32);
  }
  struct NoTeacher : Teacher {
    std::unique_ptr<TeacherRows> rows(const TrainingWindows&) override {
      throw std::runtime_error("a cross-entropy asked the teacher");
    }
  } nobody;
  torch::manual_seed(4);
  const auto ids = torch::randint(files->plan().vocab_size, {3, 16}, torch::kInt64);
  const double found = gradient_pass(tuned, *student, nobody, {torch::arange(3), ids}, 2,
                                     {.loss = Loss::kCrossEntropy});

  const auto logits = torch::linear(student->hidden_states(ids), student->head().weight);
  const auto loss = torch::nll_loss(torch::log_softmax(logits.narrow(1, 0, 15), -1).flatten(0, 1),
                                    ids.narrow(1, 1, 15).flatten());
  EXPECT_NEAR(found, loss.item<double>(), 1e-5 * found);
  expect_gradients_of(loss, tuned);
}

INSTANTIATE_TEST_SUITE_P(Models, OuterGradients, testing::Values("tiny_llama", "tiny_qwen3"));

}  // namespace
}  // namespace bitsmith
