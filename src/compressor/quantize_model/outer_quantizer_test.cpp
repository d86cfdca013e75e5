#include "compressor/quantize_model/outer_quantizer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "architecture/family.h"
#include "base/error.h"
#include "base/files.h"
#include "checkpoint/safetensors.h"
#include "compressor/model/dense_tensor.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

std::shared_ptr<const ModelFiles> model(const std::string& name) {
  return ModelFiles::open(fs::path(BITSMITH_TESTDATA) / name);
}

// Few tokens are most of a text.
torch::Tensor skewed_windows(int64_t vocab) {
  torch::manual_seed(3);
  return (torch::rand({24, 32}).pow(4) * static_cast<double>(vocab)).to(torch::kLong);
}

// H of states whose directions are far from equal.
torch::Tensor skewed_hessian(int64_t hidden) {
  torch::manual_seed(4);
  const auto x = torch::randn({500, hidden}).mm(torch::randn({hidden, hidden})) *
                 torch::logspace(-1, 1, hidden);
  HessianSum sum(hidden);
  sum.add(x);
  return sum.hessian();
}

QuantizeModelOptions options_for(const std::string& embedding, std::optional<Method> method = {}) {
  QuantizeModelOptions options;
  options.representation = parse_representation("int8g16");
  options.method = method;
  options.embedding.representation = parse_representation(embedding);
  return options;
}

QuantizedModules quantize_outer(const ModelFiles& files, const QuantizeModelOptions& options,
                                const torch::Tensor& windows, const torch::Tensor& hidden) {
  const QuantizationPlan plan = plan_quantization(files.plan(), options, {0, 1, 2});
  const RunContext context;
  const OuterQuantizer outer(files, plan, options, windows, context);
  QuantizedModules before = outer.quantize(outer.before_blocks(), {}, {});
  QuantizedModules after = outer.quantize(outer.after_blocks(), hidden, {});
  before.matrices.merge(after.matrices);
  before.linears.insert(before.linears.end(), after.linears.begin(), after.linears.end());
  return before;
}

TEST(OuterObjective, AddsBothUsesOfATiedMatrix) {
  const auto tied = model("tiny_llama"), untied = model("tiny_qwen3");
  const ModelPlan &one = tied->plan(), &two = untied->plan();
  const auto hidden = skewed_hessian(32);
  auto counts = torch::zeros({384});
  counts[5] = 8;
  counts[6] = 3;
  const Objective both = outer_objective(one, one.embedding.name, hidden, counts);
  const Objective embedding = outer_objective(two, two.embedding.name, {}, counts);
  const Objective head = outer_objective(two, two.head.name, hidden, counts);
  EXPECT_FALSE(embedding.hessian.defined());
  EXPECT_TRUE(torch::equal(head.hessian, hidden));
  // An error without a direction costs the same in either use.
  const auto noise = torch::eye(32);
  const auto cost = [&](Objective objective) {
    objective.output_factor = torch::Tensor();
    return objective.error(noise);
  };
  EXPECT_NEAR(cost(both), 2 * cost(head), 1e-5 * cost(both));
  for (const Objective& objective : {both, embedding, head}) {
    const auto& weights = objective.output_factor;
    EXPECT_NEAR(weights.mean().item<double>(), 1, 1e-5);
    EXPECT_NEAR((weights[5] / weights[0]).item<double>(), 3, 1e-5);
    EXPECT_NEAR((weights[6] / weights[0]).item<double>(), 2, 1e-5);
  }
}

TEST(OuterQuantizer, AMethodCostsNoMoreThanTheNearest) {
  for (const char* name : {"tiny_llama", "tiny_qwen3"}) {
    const auto files = model(name);
    const ModelPlan& plan = files->plan();
    const auto windows = skewed_windows(plan.vocab_size), hidden = skewed_hessian(plan.hidden_size);
    const auto counts = torch::bincount(windows.flatten(), {}, plan.vocab_size).to(torch::kFloat);
    for (const char* representation : {"int3g16", "aq1x4g4", "gvq2d2b-n256", "gvq1d2b-n256-s8"}) {
      const auto own = quantize_outer(*files, options_for(representation), windows, hidden);
      const auto nearest =
          quantize_outer(*files, options_for(representation, Method::kRtn), windows, hidden);
      ASSERT_EQ(own.matrices.size(), plan.tied ? 1u : 2u);
      for (const LinearSummary& linear : own.linears) {
        const auto weight = read_matrix(*files, linear.module, torch::kFloat32);
        const Objective objective = outer_objective(plan, linear.module, hidden, counts);
        const auto error = [&](const QuantizedModules& modules) {
          return relative_error(weight,
                                decode_matrix(modules.matrices.at(linear.module), torch::kFloat32),
                                objective);
        };
        EXPECT_LE(error(own), (1 + 1e-6) * error(nearest))
            << representation << " " << linear.module;
        EXPECT_NEAR(linear.relative_error, error(own), 1e-6 * error(own));
        EXPECT_EQ(read_kept_rows(own.matrices.at(linear.module)), (std::vector<int64_t>{0, 1, 2}));
      }
    }
  }
}

TEST(OuterQuantizer, KeepsRowsOfSpecialTokensThenOfFrequentOnes) {
  const auto files = model("tiny_llama");
  auto windows = torch::full({1, 30}, 7, torch::kLong);
  windows.narrow(1, 0, 5).fill_(200);
  windows.narrow(1, 5, 3).fill_(1);  // special anyway
  const auto kept = [&](const std::string& representation) {
    const auto modules =
        quantize_outer(*files, options_for(representation), windows, skewed_hessian(32));
    return read_kept_rows(modules.matrices.begin()->second);
  };
  EXPECT_EQ(kept("int4g16+rows2"), (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(kept("int4g16"), (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(kept("int4g16+rows5"), (std::vector<int64_t>{0, 1, 2, 7, 200}));
  EXPECT_EQ(kept("int4g16+rows6"), (std::vector<int64_t>{0, 1, 2, 3, 7, 200}));
}

// A vocabulary of more than one slice: as if its rows had been quantized at once.
TEST(OuterQuantizer, SlicesOfRowsConcatenate) {
  const fs::path folder = fs::path(::testing::TempDir()) / concat("outer_slices_", ::getpid());
  fs::create_directories(folder);
  Json config = read_json_file(fs::path(BITSMITH_TESTDATA) / "tiny_llama" / "config.json");
  constexpr int64_t kVocab = 140'000;
  config["vocab_size"] = kVocab;
  config["num_hidden_layers"] = 1;
  write_json_file(folder / "config.json", config);
  torch::manual_seed(5);
  std::vector<torch::Tensor> storage;
  std::vector<TensorView> views;
  for (const PlannedTensor& planned : planned_tensors(plan_model(config, "test"))) {
    storage.push_back(torch::randn(planned.shape));
    views.push_back({planned.name,
                     DType::F32,
                     planned.shape,
                     {static_cast<const std::byte*>(storage.back().const_data_ptr()),
                      storage.back().nbytes()}});
  }
  write_safetensors(folder / "model.safetensors", views);
  const auto files = ModelFiles::open(folder);
  const auto options = options_for("int4g32+rows4", Method::kRtn);
  const QuantizationPlan plan = plan_quantization(files->plan(), options, {3, kVocab - 1});
  const PlannedMatrix& matrix = *plan.find(files->plan().embedding.name);
  ASSERT_LT(outer_slice_rows(matrix), kVocab);
  auto windows = torch::full({1, 8}, 9, torch::kLong);
  windows[0][0] = kVocab - 2;
  const RunContext context;
  const OuterQuantizer outer(*files, plan, options, windows, context);
  const auto modules = outer.quantize(outer.before_blocks(), {}, {});
  const QuantizedTensor& sliced = modules.matrices.at(matrix.shape.name);
  verify(sliced, "sliced");
  EXPECT_EQ(read_kept_rows(sliced), (std::vector<int64_t>{3, 9, kVocab - 2, kVocab - 1}));
  const auto weight = read_matrix(*files, matrix.shape.name, torch::kFloat32);
  const auto whole =
      quantize_linear(weight, {}, matrix.spec,
                      {.method = Method::kRtn, .kept_rows = {3, 9, kVocab - 2, kVocab - 1}});
  EXPECT_TRUE(torch::equal(decode_matrix(sliced, torch::kFloat32),
                           whole.representation->dequantize().detach()));
  EXPECT_NEAR(modules.linears[0].relative_error, whole.relative_error, 1e-6 * whole.relative_error);
  fs::remove_all(folder);
}

TEST(FinalHessian, IsThatOfTheHeadsInputs) {
  const torch::NoGradGuard no_grad;
  const auto files = model("tiny_llama");
  const auto whole = Decoder::load(files, torch::kFloat32);
  const auto ids = skewed_windows(384);
  auto x = whole->embed(ids);
  const RotaryTables rotary = whole->rotary(ids.size(1));
  for (const auto& block : whole->blocks()) x = whole->run_block(*block, x, rotary);
  const auto states = whole->hidden_states(ids).flatten(0, 1);
  const auto want = 2 * states.t().mm(states) / static_cast<double>(states.size(0));
  const auto streamed = Decoder::open(files, torch::kFloat32);
  const auto got = final_hessian(*streamed, x, 64, [](double) {});
  EXPECT_LT((got - want).norm().item<double>(), 1e-5 * want.norm().item<double>());
  x[0][0][0] = std::nanf("");
  EXPECT_THROW(final_hessian(*streamed, x, 64, [](double) {}), Error);
}

}  // namespace
}  // namespace bitsmith
