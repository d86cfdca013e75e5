#include "compressor/train/gradient_exchange.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <mutex>
#include <vector>

#include "base/test_ranks.h"
#include "compressor/train/gradient_pass.h"
#include "compressor/train/test_matrices.h"

namespace bitsmith {
namespace {

struct OwnedGradient {
  int owner;
  torch::Tensor gradient;
};
struct GradientsOfRanks {
  std::vector<double> losses;                      // of each rank
  std::map<std::string, OwnedGradient> gradients;  // by name; each of its owner
};

// All quantized matrices and norms of a model with experts, whose micro-batches leave some experts
// without a gradient, and of its embedding and head.
GradientsOfRanks gradients_of_ranks(int size, torch::Dtype dtype, int64_t windows) {
  const auto files =
      ModelFiles::open(std::filesystem::path(BITSMITH_TESTDATA) / "families" / "tiny_qwen3_moe");
  torch::manual_seed(3);
  const auto ids = torch::randint(files->plan().vocab_size, {windows, 6}, torch::kInt64);
  GradientsOfRanks all;
  std::mutex mutex;
  test_ranks::run_ranks(size, [&](Communicator& ranks) {
    at::set_num_threads(1);
    const auto teacher = Decoder::load(files, dtype), student = Decoder::load(files, dtype);
    TunedBlocks tuned(StateMemory::plain(), ranks);
    for (const auto& block : student->blocks()) {
      for (Linear* linear : block->linears()) quantize_to_nearest(*linear, "int2g16");
      tuned.add(*block, *student);
    }
    for (Linear* linear : student->outer_linears()) {
      quantize_to_nearest(*linear, "int2g16");
      tuned.add(*linear, dtype);
    }
    tuned.deal();
    DecoderTeacher source(*teacher);
    const double loss =
        gradient_pass(tuned, *student, source, {torch::arange(windows), ids}, /*micro_windows=*/1);
    const std::lock_guard lock(mutex);
    all.losses.push_back(loss);
    for (auto& linear : tuned.linears()) {
      EXPECT_EQ(linear.gradient.defined(), linear.owner == ranks.rank());
      if (linear.gradient.defined())
        all.gradients[linear.linear->name] = {linear.owner, linear.gradient};
    }
    for (auto& norm : tuned.own_norms()) all.gradients[norm.name] = {norm.owner, norm.gradient};
  });
  return all;
}

class ExchangedGradients : public testing::TestWithParam<torch::Dtype> {};

// Also where ranks have no micro-batch in the last round, or in any.
TEST_P(ExchangedGradients, AreThoseOfOneProcessToTheBit) {
  constexpr int64_t kWindows = 5;
  const GradientsOfRanks alone = gradients_of_ranks(1, GetParam(), kWindows);
  for (const int size : {2, 3, 7}) {
    const GradientsOfRanks shared = gradients_of_ranks(size, GetParam(), kWindows);
    for (const double loss : shared.losses) EXPECT_EQ(loss, alone.losses.front());
    ASSERT_EQ(shared.gradients.size(), alone.gradients.size());
    std::vector<int> owned(static_cast<size_t>(size));
    for (const auto& [name, want] : alone.gradients) {
      const auto& [owner, got] = shared.gradients.at(name);
      ++owned[static_cast<size_t>(owner)];
      ASSERT_EQ(got.defined(), want.gradient.defined()) << name;
      EXPECT_TRUE(!got.defined() || torch::equal(got, want.gradient)) << name << " of " << size;
    }
    for (const int count : owned) EXPECT_GT(count, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, ExchangedGradients,
                         testing::Values(torch::kFloat32, torch::kBFloat16), [](const auto& info) {
                           return std::string(info.param == torch::kFloat32 ? "float32"
                                                                            : "bfloat16");
                         });

}  // namespace
}  // namespace bitsmith
