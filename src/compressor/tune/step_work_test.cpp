#include "compressor/tune/step_work.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "compressor/tune/tuning_step.h"

namespace bitsmith {
namespace {

// The tiny quantized model, after one step under `strategy`.
std::unique_ptr<Student> trained_student(const char* strategy) {
  const auto files =
      ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_quantized_v2");
  const auto teacher = Decoder::load(files, torch::kFloat32);
  auto student = std::make_unique<Student>(Decoder::load(files, torch::kFloat32), *teacher,
                                           code_rule_factory(strategy, {}));
  DecoderTeacher targets(*teacher);
  torch::manual_seed(1);
  const auto ids = torch::randint(files->plan().vocab_size, {1, 16}, torch::kInt64);
  tuning_step(*student, targets, {torch::arange(1), ids}, {.step = 1}, {});
  return student;
}

const PartWork& of(const StepWork& work, StepPart part) { return work[static_cast<size_t>(part)]; }

// Attention's products grow with length + 1 a token; the rest is that of the weights.
TEST(StepWork, ProductsAreThoseOfEveryWeightAndOfAttention) {
  const auto student = trained_student("continuous");
  double weights = 0;
  for (const auto& block : student->decoder().blocks()) {
    for (const Linear* linear : block->linears())
      weights += static_cast<double>(linear->out_features * linear->in_features);
  }
  const auto head = static_cast<double>(student->decoder().head().weight.numel());
  const auto of_length = [&](int64_t length) {
    return products(step_work(*student, {.windows = 5, .length = length})) /
           static_cast<double>(5 * length);
  };
  const double expected = 8 * weights + 6 * head;
  EXPECT_NEAR(2 * of_length(1) - of_length(3), expected, 1e-9 * expected);
  EXPECT_NEAR(of_length(5) - of_length(3), 2 * (of_length(2) - of_length(1)), 1e-9 * expected);
  EXPECT_GT(of_length(3), of_length(1));
}

// State is what the strategy holds, read and written; the search for codes adds directions alone.
TEST(StepWork, BytesAreThoseOfWhatIsHeld) {
  const auto pv = trained_student("pv"), fixed = trained_student("continuous");
  double gradients = 0, copies = 0, moments = 0;
  for (auto& tuned : pv->linears()) {
    gradients += static_cast<double>(tuned.gradient.nbytes());
    copies += static_cast<double>(tuned.linear->weight.nbytes());
    moments += 2 * 2 * static_cast<double>(tuned.gradient.numel());  // bfloat16
  }
  const StepWork without = step_work(*pv, {.length = 16}),
                 with = step_work(*pv, {.length = 16, .searches_codes = true});
  EXPECT_DOUBLE_EQ(of(without, StepPart::kOptimizer).bytes, gradients + 2 * moments);
  EXPECT_DOUBLE_EQ(of(with, StepPart::kOptimizer).bytes, 2 * gradients + 2 * moments);
  EXPECT_EQ(of(without, StepPart::kCodes).bytes, 0);
  EXPECT_DOUBLE_EQ(of(with, StepPart::kCodes).bytes, gradients);
  EXPECT_EQ(of(step_work(*fixed, {.length = 16}), StepPart::kOptimizer).bytes, 0);
  EXPECT_GT(of(without, StepPart::kDequantize).bytes, copies);
  EXPECT_EQ(products(with), products(without));
}

TEST(PartWork, TakesAsLongAsTheSlowerOfItsTwoSides) {
  const PartWork work = {.flops = 100, .bytes = 60};
  EXPECT_DOUBLE_EQ(work.seconds(50, 60), 2);
  EXPECT_DOUBLE_EQ(work.seconds(50, 20), 3);
}

}  // namespace
}  // namespace bitsmith
