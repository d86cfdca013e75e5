#include "kernels/cpu_features.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "base/error.h"

namespace bitsmith {
namespace {

// The choice is made once in a process, so each is tried in a process of its own.
[[noreturn]] void print_choice(const char* forced) {
  setenv("BITSMITH_ISA", forced, 1);
  try {
    std::fprintf(stderr, "chosen: %s", isa_name(selected_isa()));
  } catch (const UsageError& error) {
    std::fprintf(stderr, "refused: %s", error.what());
  }
  std::exit(0);
}

void expect_choice(const char* forced, const std::string& message) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(print_choice(forced), testing::ExitedWithCode(0), message);
}

TEST(CpuFeaturesDeathTest, TheVariableForcesALevel) {
  for (const Isa isa : kIsaLevels) {
    const std::string name = isa_name(isa);
    expect_choice(name.c_str(), cpu_supports(isa) ? "chosen: " + name : "refused: .*lacks");
  }
}

TEST(CpuFeaturesDeathTest, UnknownLevelsAreRefused) {
  expect_choice("sse9", "refused: .*sse9.*scalar, avx2, avxvnni, avx512, avx512vbmi, neon");
}

TEST(CpuFeaturesDeathTest, TheBestLevelIsTheDefault) {
  const char* best = "";
  for (const Isa isa : kIsaLevels) best = cpu_supports(isa) ? isa_name(isa) : best;
  expect_choice("", std::string("chosen: ") + best);
}

}  // namespace
}  // namespace bitsmith
