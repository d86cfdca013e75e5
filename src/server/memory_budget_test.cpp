#include "server/memory_budget.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace bitsmith {
namespace {

TEST(MemoryBudget, SharesGrowAsLongAsThereIsRoom) {
  MemoryBudget budget(100);
  {
    MemoryShare a(budget), b(budget);
    EXPECT_TRUE(a.grow(60));
    EXPECT_FALSE(b.grow(41));
    EXPECT_TRUE(b.grow(40));
    a.release();
    EXPECT_EQ(budget.taken(), 40);
    MemoryShare moved = std::move(b);
    EXPECT_TRUE(moved.grow(60));
    EXPECT_EQ(budget.taken(), 100);
    moved = MemoryShare();  // what it had goes with the other
    EXPECT_EQ(budget.taken(), 0);
  }
  EXPECT_EQ(budget.taken(), 0);
  EXPECT_TRUE(MemoryShare().grow(INT64_MAX));
}

TEST(MemoryBudget, ManyThreadsNeverTakeMore) {
  MemoryBudget budget(10);
  std::atomic<int64_t> most = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        MemoryShare share(budget);
        for (int k = 0; k < 4; ++k) share.grow(1 + k);
        for (int64_t taken = budget.taken(), before = most;
             taken > before && !most.compare_exchange_weak(before, taken);) {
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, 10);
  EXPECT_EQ(budget.taken(), 0);
}

}  // namespace
}  // namespace bitsmith
