// The walk of one-shot quantization over a block that is quantized already.
#include <set>
#include <string>

#include "compressor/quantize_model/block_quantizer.h"
#include "compressor/quantize_model/test_quantize_model.h"

namespace bitsmith {
namespace {

class StudentObjectives : public testing::QuantizeModelTest {
 protected:
  void SetUp() override {
    QuantizeModelTest::SetUp();
    options_.cross_term = 1;
    files_ = model("tiny_llama_trained");
    original_ = Decoder::load(files_, torch::kFloat32);
    student_ = Decoder::load(files_, torch::kFloat32);
    plan_ = plan_quantization(files_->plan(), options_, {});
    walk_ = std::make_unique<BlockQuantizer>(
        *original_, plan_, options_, student_->embed(data(*files_).train), OutputGradients(),
        OutputMomentSource(), BlockFinetuner(), context_);
  }
  Block& student() { return *student_->blocks()[0]; }
  const Block& original() { return *original_->blocks()[0]; }
  static bool is(const Linear& linear, const char* name) { return linear.name.ends_with(name); }

  torch::NoGradGuard no_grad_;
  std::shared_ptr<const ModelFiles> files_;
  std::unique_ptr<Decoder> original_, student_;
  QuantizationPlan plan_;
  RunContext context_;
  std::unique_ptr<BlockQuantizer> walk_;
};

TEST_F(StudentObjectives, LinearsThatAreLikeTheOriginalsHaveNoShift) {
  std::set<std::string> seen;
  walk_->each_objective(
      student(), original(), [](double, const std::string&) {},
      [&](Linear& linear, const torch::Tensor& weight, const Objective& objective) {
        seen.insert(linear.name);
        EXPECT_TRUE(torch::equal(weight, linear.weight)) << linear.name;
        EXPECT_EQ(objective.shift.abs().max().item<float>(), 0) << linear.name;
        EXPECT_EQ(objective.hessian.size(0), linear.in_features);
      });
  EXPECT_EQ(std::ssize(seen), std::ssize(student().linears()));
}

// Sites after a linear see what has become of it, those before it do not; the next block sees both
// models' outputs.
TEST_F(StudentObjectives, WhatAMatrixBecomesMovesTheTargetsOfThoseAfterIt) {
  const auto inputs = walk_->activations().clone();
  walk_->each_objective(
      student(), original(), [](double, const std::string&) {},
      [&](Linear& linear, const torch::Tensor& weight, const Objective& objective) {
        const bool moved = objective.shift.abs().max().item<float>() > 0;
        EXPECT_EQ(moved, !is(linear, "q_proj") && !is(linear, "k_proj") && !is(linear, "v_proj"))
            << linear.name;
        if (is(linear, "v_proj")) linear.weight.mul_(1.5);
      });
  walk_->advance(student(), original(), [](double, const std::string&) {});
  const auto rotary = student_->rotary(inputs.size(1));
  EXPECT_TRUE(torch::allclose(walk_->activations(), student_->run_block(student(), inputs, rotary),
                              1e-4, 1e-5));
  EXPECT_FALSE(torch::allclose(walk_->activations(),
                               original_->run_block(original(), inputs, rotary), 1e-4, 1e-5));
}

}  // namespace
}  // namespace bitsmith
