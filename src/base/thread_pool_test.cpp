#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace bitsmith {
namespace {

class ThreadPoolTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 3, 8));

TEST_P(ThreadPoolTest, RunsEveryTaskOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.size(), GetParam());
  for (const int64_t count : {0, 1, 2, 3, 100, 5000}) {
    std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
    pool.run(count, [&](int64_t i) { ++runs[static_cast<size_t>(i)]; });
    for (const auto& run : runs) EXPECT_EQ(run, 1);
  }
}

TEST_P(ThreadPoolTest, ManyShortCallsAndCallsAfterSleep) {
  ThreadPool pool(GetParam());
  std::atomic<int64_t> sum{0};
  for (int call = 0; call < 2000; ++call) {
    if (call % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));  // fall asleep
    pool.run(8, [&](int64_t i) { sum += i; });
  }
  EXPECT_EQ(sum, 2000 * 28);
}

TEST_P(ThreadPoolTest, AnExceptionComesBackAndThePoolGoesOn) {
  ThreadPool pool(GetParam());
  for (int round = 0; round < 20; ++round) {
    const auto throwing = [](int64_t i) {
      if (i % 10 == 3) throw std::runtime_error("task failed");
    };
    try {
      pool.run(100, throwing);
      ADD_FAILURE() << "no exception";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "task failed");
    }
    std::atomic<int> runs{0};
    pool.run(100, [&](int64_t) { ++runs; });
    EXPECT_EQ(runs, 100);
  }
}

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

TEST(ThreadPoolTest, WhoeverWaitsSleeps) {
  ThreadPool pool(3);
  const auto caller = std::this_thread::get_id();
  const double start = cpu_seconds();
  pool.run(3, [&](int64_t) {  // the caller waits for the workers
    const bool first = std::this_thread::get_id() == caller;
    std::this_thread::sleep_for(std::chrono::milliseconds(first ? 50 : 300));
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // the workers wait for a call
  EXPECT_LT(cpu_seconds() - start, 0.1);
}

TEST(ThreadPoolTest, MoreThreadsThanCores) {
  ThreadPool pool(64);
  std::atomic<int64_t> sum{0};
  for (int call = 0; call < 300; ++call) pool.run(16, [&](int64_t i) { sum += i; });
  EXPECT_EQ(sum, 300 * 120);
}

TEST(ThreadPoolTest, AtLeastOneThread) {
  EXPECT_GE(default_threads(), 1);
  EXPECT_EQ(ThreadPool(0).size(), 1);
}

TEST(ThreadPoolTest, NoMoreThreadsThanOpenMpMayHave) {
  const char* before = std::getenv("OMP_NUM_THREADS");
  const std::string kept = before ? before : "";
  unsetenv("OMP_NUM_THREADS");
  const int all = default_threads();
  for (const auto& [value, threads] :
       {std::pair("1", 1), {"1,4", 1}, {"100000", all}, {"0", all}, {"-3", all}, {"many", all}}) {
    setenv("OMP_NUM_THREADS", value, 1);
    EXPECT_EQ(default_threads(), threads) << value;
  }
  before ? setenv("OMP_NUM_THREADS", kept.c_str(), 1) : unsetenv("OMP_NUM_THREADS");
}

}  // namespace
}  // namespace bitsmith
