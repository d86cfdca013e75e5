#include "base/communicator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>

#include "base/test_communicator.h"
#include "base/test_ranks.h"

namespace bitsmith {
namespace {

TEST(Communicator, OneProcessTalksToItself) {
  Communicator& alone = Communicator::alone();
  EXPECT_EQ(alone.size(), 1);
  EXPECT_TRUE(alone.first());
  test_ranks::check_communicator(alone);
}

// What other tests stand on.
TEST(Communicator, ThreadsAreRanks) {
  for (const int size : {1, 2, 5}) {
    std::atomic<int> done = 0;
    test_ranks::run_ranks(size, [&](Communicator& ranks) {
      test_ranks::check_communicator(ranks);
      ++done;
    });
    EXPECT_EQ(done, size);
  }
}

TEST(Communicator, ALostRankEndsTheOthers) {
  try {
    test_ranks::run_ranks(3, [&](Communicator& ranks) {
      if (ranks.rank() == 1) throw Error("a full disk");
      ranks.barrier();
    });
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "a full disk");
  }
}

TEST(Communicator, WhatOneRankRefusesAllRefuse) {
  test_ranks::run_ranks(4, [&](Communicator& ranks) {
    int checked = 0;
    check_together(ranks, [&] { ++checked; });
    EXPECT_EQ(checked, 1);
    const auto refuses = [&](int least) {
      try {
        check_together(ranks, [&] {
          if (ranks.rank() >= least) throw UsageError(concat("no room on ", ranks.rank()));
        });
      } catch (const Error& error) {
        EXPECT_EQ(dynamic_cast<const UsageError*>(&error) != nullptr, ranks.rank() >= least);
        return std::string(error.what());
      }
      return std::string();
    };
    const std::string some = refuses(2), all = refuses(0);
    EXPECT_EQ(all, concat("no room on ", ranks.rank()));
    if (ranks.rank() >= 2) {
      EXPECT_EQ(some, concat("no room on ", ranks.rank()));
    } else {
      EXPECT_EQ(some, concat("process 2 of 4, on ", machine_name(), ": no room on 2"));
    }
  });
  EXPECT_THROW(check_together(Communicator::alone(), [] { throw UsageError("no"); }), UsageError);
}

double largest_load(const std::vector<double>& sizes, const std::vector<int>& owners, int ranks) {
  std::vector<double> loads(static_cast<size_t>(ranks));
  for (size_t i = 0; i < sizes.size(); ++i) loads[static_cast<size_t>(owners[i])] += sizes[i];
  return *std::max_element(loads.begin(), loads.end());
}

// Of all ways there are.
double best_load(const std::vector<double>& sizes, int ranks) {
  std::vector<int> owners(sizes.size());
  double best = std::accumulate(sizes.begin(), sizes.end(), 0.0);
  for (;;) {
    best = std::min(best, largest_load(sizes, owners, ranks));
    size_t i = 0;
    while (i < owners.size() && ++owners[i] == ranks) owners[i++] = 0;
    if (i == owners.size()) return best;
  }
}

TEST(DealBySize, IsNearTheBest) {
  for (const std::vector<double>& sizes : std::vector<std::vector<double>>{
           {576, 192, 192, 576, 1536, 1536, 1536}, {1, 1, 1, 1}, {7, 6, 5, 4, 3, 2, 1}, {5}, {}}) {
    for (const int ranks : {1, 2, 3, 4}) {
      const std::vector<int> owners = deal_by_size(sizes, ranks);
      ASSERT_EQ(owners.size(), sizes.size());
      for (const int owner : owners) EXPECT_TRUE(owner >= 0 && owner < ranks);
      EXPECT_LE(largest_load(sizes, owners, ranks), 4.0 / 3 * best_load(sizes, ranks) + 1e-9);
    }
  }
  EXPECT_EQ(deal_by_size(std::vector<double>{1, 1, 1}, 2), (std::vector<int>{0, 1, 0}));
}

TEST(ShareOf, CoversEverythingOnce) {
  for (const int64_t count : {0, 1, 7, 64}) {
    for (const int ranks : {1, 2, 3, 8}) {
      int64_t next = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const Share share = share_of(count, rank, ranks);
        EXPECT_EQ(share.first, next);
        EXPECT_GE(share.count(), count / ranks);
        EXPECT_LE(share.count(), count / ranks + 1);
        next = share.last;
      }
      EXPECT_EQ(next, count);
    }
  }
}

}  // namespace
}  // namespace bitsmith
