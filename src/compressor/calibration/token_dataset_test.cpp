#include "compressor/calibration/token_dataset.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <string>

#include "base/error.h"
#include "base/log.h"
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

TEST(SampleDocuments, WindowsBeginWithDocumentsOrPiecesOfLongOnes) {
  // One of 100 tokens, and twenty of 3.
  std::vector<std::pair<int32_t, int32_t>> documents = {{0, 100}};
  for (int32_t i = 0; i < 20; ++i) documents.push_back({1000 + 10 * i, 1003 + 10 * i});
  std::set<int64_t> starts;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const TokenDataset data = sample_documents(ranges(documents), kSeparator, {}, 8, 0, 0, seed);
    EXPECT_EQ(data.train.sizes(), (std::vector<int64_t>{22, 8}));  // 101 + 20 * 4 tokens
    for (int64_t window = 0; window < data.train.size(0); ++window) {
      const auto* ids = data.train[window].data_ptr<int64_t>();
      if (ids[0] < 100) {
        starts.insert(ids[0]);
        for (int64_t i = 1; i < 8; ++i)
          EXPECT_EQ(ids[i], ids[0] + i == 100 ? kSeparator : ids[0] + i);
      } else {
        EXPECT_EQ(ids[0] % 10, 0);
        EXPECT_EQ(ids[2], ids[0] + 2);
        EXPECT_EQ(ids[3], kSeparator);
        EXPECT_EQ(ids[4] % 10, 0);  // the beginning of another
      }
    }
  }
  EXPECT_GT(starts.size(), 60u);    // of 94
  EXPECT_LE(*starts.rbegin(), 93);  // 93 .. 99 and the separator
}

// Each is drawn as often as any other, whatever its length: what the paper calls biased.
TEST(SampleDocuments, LongDocumentsAreUnderrepresented) {
  std::vector<std::pair<int32_t, int32_t>> documents = {{0, 3000}};
  for (int32_t i = 0; i < 9; ++i) documents.push_back({3000 + 20 * i, 3019 + 20 * i});
  const TokenDataset data = sample_documents(ranges(documents), kSeparator, {}, 20, 0, 0, 3);
  const auto of_long = data.train.select(1, 0).lt(3000).sum().item<int64_t>();
  // 3,000 of 3,180 tokens, and a tenth of the windows.
  EXPECT_NEAR(static_cast<double>(of_long), static_cast<double>(data.train.size(0)) / 10, 1);
}

TEST(SampleDocuments, OtherDocumentsAreHeldOut) {
  std::vector<std::pair<int32_t, int32_t>> documents;
  for (int32_t i = 0; i < 40; ++i) documents.push_back({100 * i, 100 * i + 40 + i});
  constexpr int32_t kBos = 6000;
  const TokenDataset data = sample_documents(ranges(documents), kSeparator, kBos, 16, 1600, 0.2, 5);
  EXPECT_EQ(data.train.sizes(), (std::vector<int64_t>{80, 16}));
  EXPECT_EQ(data.validation.sizes(), (std::vector<int64_t>{20, 16}));
  std::set<int64_t> documents_of_train;
  for (const auto& [id, count] : count_ids(data.train))
    if (id < kSeparator) documents_of_train.insert(id / 100);
  for (const auto& [id, count] : count_ids(data.validation)) {
    if (id >= kSeparator) continue;
    EXPECT_FALSE(documents_of_train.contains(id / 100)) << id;
  }
  EXPECT_TRUE(data.train.select(1, 0).eq(kBos).all().item<bool>());
  EXPECT_EQ(data.hash,
            sample_documents(ranges(documents), kSeparator, kBos, 16, 1600, 0.2, 5).hash);
  EXPECT_NE(data.hash,
            sample_documents(ranges(documents), kSeparator, kBos, 16, 1600, 0.2, 6).hash);
}

// The number of windows comes from all text, what is in them from the documents of either side.
TEST(SampleDocuments, ADocumentIsNotDrawnForAllWindows) {
  std::set<int64_t> learned;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::string warnings;
    set_log_sink([&](Severity, const std::string& message) { warnings += message; });
    const TokenDataset data =  // 12 and 1,001 tokens with their separators: 101 windows
        sample_documents(ranges({{0, 11}, {1000, 2000}}), kSeparator, {}, 10, 0, 0.2, seed);
    set_log_sink({});
    const bool short_one = data.train.lt(1000).any().item<bool>();
    EXPECT_EQ(data.train.size(0), short_one ? 1 : 81);
    EXPECT_EQ(data.validation.size(0), short_one ? 20 : 1);
    EXPECT_NE(warnings.find(short_one ? "trained on hold 12 tokens" : "held out hold 12 tokens"),
              std::string::npos)
        << warnings;
    learned.insert(data.train.size(0));
  }
  EXPECT_EQ(learned.size(), 2u);  // both happen
}

TEST(SampleDocuments, RefusesTooLittle) {
  EXPECT_THROW(sample_documents(ranges({{0, 8}}), kSeparator, {}, 10, 0, 0, 0), Error);
  EXPECT_THROW(sample_documents(ranges({{0, 900}}), kSeparator, {}, 10, 0, 0.1, 0), UsageError);
  EXPECT_EQ(sample_documents(ranges({{0, 899}}), kSeparator, {}, 10, 0, 0, 0).train.size(0), 90);
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
