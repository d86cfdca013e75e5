#include "compressor/train/student_pass.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <tuple>

#include "compressor/train/gradient_pass.h"
#include "compressor/train/test_matrices.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

class Recomputed : public testing::TestWithParam<std::tuple<const char*, torch::Dtype>> {};

// Gradients of all that can learn, by their names, and the loss.
std::map<std::string, torch::Tensor> gradients(const std::shared_ptr<const ModelFiles>& files,
                                               torch::Dtype dtype, bool outer,
                                               KeptActivations kept) {
  const auto teacher = Decoder::load(files, dtype), student = Decoder::load(files, dtype);
  TunedBlocks tuned;
  for (const auto& block : student->blocks()) {
    for (Linear* linear : block->linears()) quantize_to_nearest(*linear, "int3g16");
    tuned.add(*block, *student);
  }
  if (outer) {
    for (Linear* linear : student->outer_linears()) {
      quantize_to_nearest(*linear, "int3g16");
      tuned.add(*linear, dtype);
    }
  }
  torch::manual_seed(2);
  const auto ids = torch::randint(files->plan().vocab_size, {5, 16}, torch::kInt64);
  DecoderTeacher source(*teacher);
  const double loss = gradient_pass(tuned, *student, source, {torch::arange(5), ids},
                                    /*micro_windows=*/2, {}, kept);
  std::map<std::string, torch::Tensor> all = {{"loss", torch::tensor(loss, torch::kFloat64)}};
  for (const TunedLinear& linear : tuned.linears()) all[linear.linear->name] = linear.gradient;
  for (const Trainable& norm : tuned.norms()) all[norm.name] = norm.gradient;
  return all;
}

TEST_P(Recomputed, GradientsAreTheSame) {
  const auto& [model, dtype] = GetParam();
  const auto files = ModelFiles::open(fs::path(BITSMITH_TESTDATA) / model);
  for (const bool outer : {false, true}) {
    const auto want = gradients(files, dtype, outer, KeptActivations::kAll),
               got = gradients(files, dtype, outer, KeptActivations::kBlockInputs);
    ASSERT_EQ(got.size(), want.size());
    for (const auto& [name, gradient] : want) {
      ASSERT_EQ(got.at(name).defined(), gradient.defined()) << name;
      if (!gradient.defined()) continue;
      EXPECT_TRUE(torch::equal(got.at(name), gradient)) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Recomputed,
                         testing::Combine(testing::Values("tiny_llama", "tiny_qwen3",
                                                          "families/tiny_mixtral"),
                                          testing::Values(torch::kFloat32, torch::kBFloat16)));

// Where nothing learns in the first blocks, nothing asks them for gradients.
TEST(StudentPass, BlocksMayHaveNothingThatLearns) {
  const auto files = ModelFiles::open(fs::path(BITSMITH_TESTDATA) / "tiny_llama");
  const auto student = Decoder::load(files, torch::kFloat32);
  torch::Tensor& weight = student->blocks().back()->attention_output.weight;
  weight.requires_grad_(true);
  const auto ids = torch::arange(8).view({1, 8});
  std::vector<torch::Tensor> got;
  for (const auto kept : {KeptActivations::kAll, KeptActivations::kBlockInputs}) {
    StudentPass pass(*student, ids, kept);
    EXPECT_FALSE(pass.hidden().requires_grad());
    pass.backward(torch::ones_like(pass.hidden()));
    got.push_back(weight.grad().clone());
    weight.mutable_grad().reset();
  }
  EXPECT_GT(got[0].norm().item<double>(), 0);
  EXPECT_TRUE(torch::equal(got[0], got[1]));
}

}  // namespace
}  // namespace bitsmith
