#include "base/processor_share.h"

#include <gtest/gtest.h>

namespace bitsmith {
namespace {

TEST(ProcessorShare, ThreadsAreDividedFairly) {
  EXPECT_EQ(fair_threads({.processes = 1, .own = 8, .together = 8, .machine = 8}), 8);
  EXPECT_EQ(fair_threads({.processes = 2, .own = 8, .together = 8, .machine = 8}), 4);
  EXPECT_EQ(fair_threads({.processes = 3, .own = 8, .together = 8, .machine = 8}), 2);
  EXPECT_EQ(fair_threads({.processes = 2, .own = 1, .together = 2, .machine = 8}), 1);  // bound
  EXPECT_EQ(fair_threads({.processes = 4, .own = 2, .together = 2, .machine = 2}), 1);
}

TEST(ProcessorShare, WarnsWhereThreadsWaitOrProcessorsAreIdle) {
  const auto found = [](const ProcessorShare& share, int threads, const char* text) {
    const std::string warning = thread_share_warning(share, threads);
    return *text == 0 ? warning.empty() : warning.find(text) != std::string::npos;
  };
  // The fair share, or less where it was asked for.
  for (const int threads : {1, 4})
    EXPECT_TRUE(found({.processes = 2, .own = 8, .together = 8, .machine = 8}, threads, ""));
  EXPECT_TRUE(found({}, 1, ""));
  // Every process takes all processors, or there are more processes than these.
  EXPECT_TRUE(found({.processes = 2, .own = 8, .together = 8, .machine = 8}, 8,
                    "2 processes of 8 threads"));
  EXPECT_TRUE(
      found({.processes = 4, .own = 2, .together = 2, .machine = 2}, 1, "4 processes of 1 thread"));
  // What mpirun does by itself.
  EXPECT_TRUE(found({.processes = 2, .own = 1, .together = 2, .machine = 8}, 1, "--bind-to none"));
  EXPECT_TRUE(found({.processes = 2, .own = 2, .together = 4, .machine = 16}, 2, "8 for each"));
  EXPECT_TRUE(
      found({.processes = 2, .own = 1, .together = 2, .machine = 8}, 4, "bound to 1 processor"));
  // Bound to a share that is worth its name, as by --map-by numa.
  EXPECT_TRUE(found({.processes = 2, .own = 16, .together = 32, .machine = 64}, 16, ""));
  EXPECT_TRUE(found({.processes = 2, .own = 1, .together = 2, .machine = 2}, 1, ""));
}

}  // namespace
}  // namespace bitsmith
