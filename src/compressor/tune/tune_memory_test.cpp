#include "compressor/tune/tune_memory.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "compressor/tune/block_finetune.h"
#include "compressor/tune/tuning_step.h"

namespace bitsmith {
namespace {

TEST(TuneMemory, FollowsWhatARunAsksFor) {
  const auto files =
      ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_quantized_v2");
  const auto bytes = [&](auto change) {
    TuneOptions options;
    options.dtype = "bfloat16";
    change(options);
    return tune_memory_bytes(*files, options, 64);
  };
  const uint64_t usual = bytes([](auto&) {});
  EXPECT_GT(usual, uint64_t{300} << 20);
  EXPECT_GT(bytes([](auto& o) { o.dtype = "float32"; }), usual);
  EXPECT_EQ(bytes([](auto& o) { o.dtype = "auto"; }),
            bytes([](auto& o) { o.dtype = run_dtype({}); }));
  EXPECT_EQ(bytes([](auto& o) { o.offload_optimizer = true; }),
            usual - rule_state_bytes(*files, {}));
  EXPECT_LT(bytes([](auto& o) { o.optimizer_state = MomentFormat::kEightBits; }), usual);
  // The same again for as many tokens again.
  const uint64_t twice = bytes([](auto& o) { o.micro_tokens = 4096; });
  const uint64_t thrice = bytes([](auto& o) { o.micro_tokens = 6144; });
  EXPECT_GT(twice, usual);
  EXPECT_EQ(thrice - twice, twice - usual);
}

// What is left of the activations is one block's, and the inputs of all.
TEST(TuneMemory, ActivationsThatAreComputedAgainAreNotKept) {
  const auto files =
      ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_quantized_v2");
  const auto a_window = [&](bool again) {
    TuneOptions options;
    options.dtype = "float32";
    options.recompute_activations = again;
    const auto bytes = [&](int64_t windows) {
      options.micro_tokens = windows * 64;
      return tune_memory_bytes(*files, options, 64);
    };
    return bytes(101) - bytes(100);
  };
  const auto blocks = static_cast<uint64_t>(files->plan().num_blocks());
  ASSERT_GT(blocks, 1u);
  const uint64_t inputs = (blocks + 1) * 64 * static_cast<uint64_t>(files->plan().hidden_size) * 4;
  EXPECT_LT(a_window(true), a_window(false));
  EXPECT_EQ(a_window(true), a_window(false) / blocks + inputs);
}

TEST(TuneMemory, MicroBatchesAreHalvedOnlyWhereThatIsEnough) {
  const auto files =
      ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_quantized_v2");
  TuneOptions options;
  const auto needs = [&](int64_t micro_tokens) {
    TuneOptions changed = options;
    changed.micro_tokens = micro_tokens;
    return tune_memory_bytes(*files, changed, 64);
  };
  const auto fitting = [&](uint64_t bytes) {
    return fitting_micro_tokens(*files, options, 64, bytes);
  };
  EXPECT_EQ(fitting(needs(2048)), 2048);
  EXPECT_EQ(fitting(needs(2048) - 1), 1024);
  EXPECT_EQ(fitting(needs(1024) - 1), 512);
  EXPECT_EQ(fitting(needs(64)), 64);  // one window
  EXPECT_EQ(fitting(needs(64) - 1), 2048);
}

TEST(TuneMemory, CountsWhatPassesOverTheBlocksTake) {
  const auto files =
      ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_quantized_v2");
  const auto bytes = [&](const char* strategy, int64_t tokens) {
    TuneOptions options;
    options.strategy = strategy;
    options.pass.tokens = tokens;
    return tune_memory_bytes(*files, options, 64);
  };
  constexpr int64_t kMany = int64_t{1} << 20;
  EXPECT_EQ(bytes("continuous", kMany), bytes("continuous", 64));
  const uint64_t once = bytes("second-pass", kMany), twice = bytes("second-pass", 2 * kMany);
  EXPECT_GT(once, bytes("continuous", kMany));
  EXPECT_GT(twice, once);
  EXPECT_LT(twice, 2 * once);
  EXPECT_GT(bytes("second-pass", kMany), bytes("second-order", kMany));  // one model's activations
}

TEST(FinetuneMemory, IsInTheEstimateOfQuantizing) {
  const auto files = ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_llama");
  const ModelPlan& model = files->plan();
  QuantizeModelOptions options;
  options.representation = parse_representation("int4g16");
  const QuantizationPlan plan = plan_quantization(model, options, {});
  const RunContext context;
  const auto needs = [&](const BlockFinetuneOptions& finetune, int64_t element) {
    return block_finetuner(finetune, context).memory_bytes(plan, model, /*length=*/64, element);
  };
  const int64_t usual = needs({.epochs = 1, .batch_tokens = 4096}, 4);
  // The same again for as many tokens again; a window at least.
  const int64_t twice = needs({.epochs = 1, .batch_tokens = 8192}, 4);
  EXPECT_EQ(needs({.epochs = 1, .batch_tokens = 12288}, 4) - twice, twice - usual);
  EXPECT_EQ(needs({.epochs = 1, .batch_tokens = 1}, 4),
            needs({.epochs = 1, .batch_tokens = 64}, 4));
  EXPECT_LT(needs({.epochs = 1, .batch_tokens = 4096}, 2), usual);
  // A block's dense weights, sums of their gradients, and activations of a step.
  int64_t weights = 0;
  for (const LinearPlan* linear : linears(model.blocks.front()))
    weights += linear->out_features * linear->in_features;
  EXPECT_GT(needs({.epochs = 1, .batch_tokens = 1}, 4), 8 * weights);

  const auto estimate = [&](const BlockFinetuner& finetune) {
    QuantizationPlan own = plan;
    estimate_resources(own, model, /*tokens=*/8192, /*length=*/64, options, finetune);
    return own.memory_bytes;
  };
  const auto trained = [&](int64_t batch_tokens) {
    return estimate(block_finetuner({.epochs = 1, .batch_tokens = batch_tokens}, context));
  };
  EXPECT_GE(trained(64), estimate({}));
  constexpr int64_t kMany = int64_t{1} << 22;
  EXPECT_GT(trained(kMany),
            estimate({}) + static_cast<uint64_t>(needs({.batch_tokens = kMany}, 4)) / 2);
}

// After a step; zero points, whose bits are packed, are not predicted.
TEST(TuneMemory, BytesAWeightAreThoseThatTrainingHolds) {
  const auto files =
      ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_quantized_v2");
  const auto teacher = Decoder::load(files, torch::kFloat32);
  for (const char* strategy : {"pv", "pv+ste", "continuous"}) {
    TuneOptions options;
    options.strategy = strategy;
    options.dtype = "float32";
    Student student(Decoder::load(files, torch::kFloat32), *teacher,
                    code_rule_factory(strategy, options.code_options()));
    DecoderTeacher targets(*teacher);
    torch::manual_seed(1);
    const auto ids = torch::randint(files->plan().vocab_size, {2, 16}, torch::kInt64);
    tuning_step(student, targets, {torch::arange(2), ids}, {.step = 1}, {.micro_windows = 2});
    double weights = 0, parameters = 0;
    for (auto& tuned : student.linears()) {
      weights += static_cast<double>(tuned.gradient.numel());
      for (auto& c : tuned.continuous) parameters += static_cast<double>(c.value.numel());
    }
    // Beside what is held the prediction has the copies that a validation puts aside.
    const double held = static_cast<double>(student.matrix_bytes()) + 4 * parameters;
    EXPECT_NEAR(trained_bytes_a_weight(*files, options) * weights, held, 0.1 * held) << strategy;
  }
}

// They share sums of gradients and moments, and have room for one gradient that comes.
TEST(TuneMemory, ManyRanksNeedLessEach) {
  const auto files =
      ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_quantized_v2");
  const TuneOptions options;
  const auto bytes = [&](int ranks) { return tune_memory_bytes(*files, options, 64, ranks); };
  EXPECT_EQ(bytes(1), tune_memory_bytes(*files, options, 64));
  EXPECT_LT(bytes(4), bytes(1));
  EXPECT_LT(bytes(16), bytes(4));
  EXPECT_GT(bytes(1000), bytes(1) / 2);  // the models themselves are not shared
}

TEST(TuneMemory, CodesThatStayHaveNoState) {
  const auto files =
      ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_quantized_v2");
  TuneOptions options;
  EXPECT_GT(rule_state_bytes(*files, options), 0u);
  options.strategy = "continuous";
  EXPECT_EQ(rule_state_bytes(*files, options), 0u);
}

}  // namespace
}  // namespace bitsmith
