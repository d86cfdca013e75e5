#include "compressor/tune/tune_memory.h"

#include <gtest/gtest.h>

#include <filesystem>

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
  EXPECT_GT(usual, uint64_t{400} << 20);
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
