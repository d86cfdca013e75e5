#include "compressor/calibration/token_dataset.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/test_ranks.h"

namespace bitsmith {
namespace {

constexpr int32_t kSeparator = 5000;

// The documents first .. last - 1: every token of a corpus can be told from every other.
std::vector<std::vector<int32_t>> ranges(
    const std::vector<std::pair<int32_t, int32_t>>& documents) {
  std::vector<std::vector<int32_t>> result;
  for (const auto& [first, last] : documents) {
    result.emplace_back(last - first);
    std::iota(result.back().begin(), result.back().end(), first);
  }
  return result;
}

std::map<int64_t, int> count_ids(const torch::Tensor& windows) {
  std::map<int64_t, int> counts;
  for (int64_t i = 0; i < windows.numel(); ++i) ++counts[windows.data_ptr<int64_t>()[i]];
  return counts;
}

TEST(PackDocuments, TakesEveryTokenOnceAndOneSeparatorADocument) {
  const auto documents = ranges({{0, 13}, {13, 14}, {14, 29}, {29, 29}, {29, 45}});
  const TokenDataset data = pack_documents(documents, kSeparator, {}, 7, 0, 0, 1);
  EXPECT_EQ(data.train.sizes(), (std::vector<int64_t>{7, 7}));  // 45 + 4, nothing left over
  const auto counts = count_ids(data.train);
  EXPECT_EQ(counts.at(kSeparator), 4);  // the empty document has none
  for (int64_t id = 0; id < 45; ++id) EXPECT_EQ(counts.at(id), 1) << id;
}

TEST(PackDocuments, BosBeginsEveryWindow) {
  constexpr int32_t kBos = 6000;
  const TokenDataset data = pack_documents(ranges({{0, 17}}), kSeparator, kBos, 7, 0, 0, 1);
  EXPECT_EQ(data.train.sizes(), (std::vector<int64_t>{3, 7}));  // 17 + 1 tokens of text, 6 each
  EXPECT_TRUE(data.train.select(1, 0).eq(kBos).all().item<bool>());
  const auto counts = count_ids(data.train.narrow(1, 1, 6).contiguous());
  for (int64_t id = 0; id < 17; ++id) EXPECT_EQ(counts.at(id), 1) << id;
  EXPECT_FALSE(counts.contains(kBos));
}

// Appendix H of the PV-Tuning paper: long documents, their middles and their ends included, are not
// favored. Counts over many seeds are binomial; five standard deviations are allowed.
TEST(PackDocuments, EveryTokenIsEquallyLikely) {
  const auto documents = ranges({{0, 300}, {300, 303}, {303, 304}, {304, 390}});
  constexpr int kSeeds = 3000;
  std::map<int64_t, int> total;
  for (int seed = 0; seed < kSeeds; ++seed) {
    const TokenDataset data = pack_documents(documents, kSeparator, {}, 9, 63, 0, seed);
    for (const auto& [id, count] : count_ids(data.train)) total[id] += count;
  }
  const double share = 63.0 / 394.0, mean = kSeeds * share;
  const double deviation = std::sqrt(kSeeds * share * (1 - share));
  for (int64_t id = 0; id < 390; ++id) EXPECT_NEAR(total[id], mean, 5 * deviation) << id;
}

TEST(PackDocuments, ValidationIsHeldOut) {
  for (const double share : {0.01, 0.1, 0.3}) {
    const TokenDataset data =
        pack_documents(ranges({{0, 1000}}), kSeparator, {}, 10, 800, share, 3);
    EXPECT_EQ(data.validation.size(0), std::max<int64_t>(1, std::llround(80 * share)));
    EXPECT_EQ(data.train.size(0) + data.validation.size(0), 80);
    const auto train = count_ids(data.train);
    for (const auto& [id, count] : count_ids(data.validation)) {
      EXPECT_FALSE(train.contains(id)) << id;
    }
  }
  EXPECT_EQ(pack_documents(ranges({{0, 1000}}), kSeparator, {}, 10, 70, 0.1, 3).validation.size(0),
            1);
  EXPECT_EQ(pack_documents(ranges({{0, 1000}}), kSeparator, {}, 10, 70, 0.01, 3).validation.size(0),
            0);
}

TEST(PackDocuments, SeedAndSplitNameTheData) {
  const auto hash = [&](double share, uint64_t seed) {
    return pack_documents(ranges({{0, 500}, {500, 900}}), kSeparator, {}, 10, 400, share, seed)
        .hash;
  };
  EXPECT_EQ(hash(0.1, 1), hash(0.1, 1));
  EXPECT_NE(hash(0.1, 1), hash(0.1, 2));
  EXPECT_NE(hash(0.1, 1), hash(0.2, 1));
}

TEST(PackDocuments, RefusesTooLittle) {
  EXPECT_THROW(pack_documents(ranges({{0, 8}}), kSeparator, {}, 10, 0, 0, 0), Error);
  EXPECT_THROW(pack_documents(ranges({}), kSeparator, {}, 10, 0, 0, 0), Error);
  EXPECT_THROW(pack_documents(ranges({{0, 100}}), kSeparator, {}, 10, 9, 0, 0), UsageError);
  // Fewer than asked for, but some: all of it.
  EXPECT_EQ(pack_documents(ranges({{0, 100}}), kSeparator, {}, 10, 500, 0, 0).train.size(0), 10);
}

TEST(PackWindows, KeepsWindowsWhole) {
  std::vector<std::vector<int32_t>> windows;
  for (int32_t i = 0; i < 20; ++i) windows.push_back({3 * i, 3 * i + 1, 3 * i + 2});
  const TokenDataset data = pack_windows(windows, 0.2, 0);
  EXPECT_EQ(data.validation.size(0), 4);
  std::set<int64_t> seen;
  for (const torch::Tensor& part : {data.train, data.validation}) {
    for (int64_t i = 0; i < part.size(0); ++i) {
      const int64_t first = part[i][0].item<int64_t>();
      EXPECT_EQ(part[i][2].item<int64_t>(), first + 2);
      EXPECT_TRUE(seen.insert(first).second);
    }
  }
  EXPECT_EQ(seen.size(), 20u);
}

TEST(TokenDataset, RanksGetTheDataOfTheFirst) {
  for (const int64_t held_out : {0, 3}) {
    TokenDataset original;
    original.train = torch::arange(40, torch::kInt64).view({10, 4});
    original.validation = torch::arange(held_out * 4, torch::kInt64).view({held_out, 4});
    original.hash = "00ff";
    original.chats = 2;
    original.warnings = {"little text", "much of it twice"};
    test_ranks::run_ranks(3, [&](Communicator& ranks) {
      TokenDataset data;
      if (ranks.first()) data = original;
      share_dataset(data, ranks);
      EXPECT_TRUE(torch::equal(data.train, original.train));
      EXPECT_TRUE(torch::equal(data.validation, original.validation));
      EXPECT_EQ(data.hash, original.hash);
      EXPECT_EQ(data.chats, original.chats);
      EXPECT_EQ(data.warnings, original.warnings);
    });
  }
}

}  // namespace
}  // namespace bitsmith
