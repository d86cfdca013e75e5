#include "tokenizer/bpe_model.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>

#include "base/error.h"
#include "base/random.h"

namespace bitsmith {
namespace {

using Ids = std::vector<int32_t>;

Vocabulary vocabulary(const std::vector<std::string>& tokens) { return Vocabulary(tokens); }

Ids encode(const BpeModel& model, const std::string& word) {
  Ids ids;
  model.encode(word, {}, ids);
  return ids;
}

// By the definition: look through the whole word for the best pair, merge the leftmost, repeat.
Ids slow_encode(const std::vector<std::string>& tokens, const BpeModel::Merges& merges,
                const std::string& word) {
  std::vector<std::string> parts;
  for (const char c : word) parts.emplace_back(1, c);
  for (;;) {
    size_t best_rank = merges.size(), best = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i)
      for (size_t rank = 0; rank < best_rank; ++rank)
        if (merges[rank] == std::pair(parts[i], parts[i + 1])) {
          best_rank = rank;
          best = i;
        }
    if (best_rank == merges.size()) break;
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
  Ids ids;
  for (const std::string& part : parts)
    ids.push_back(
        static_cast<int32_t>(std::find(tokens.begin(), tokens.end(), part) - tokens.begin()));
  return ids;
}

TEST(BpeModel, EqualsTheDefinitionOnRandomMerges) {
  Random random(11);
  for (int round = 0; round < 30; ++round) {
    std::vector<std::string> tokens = {"a", "b", "c"};
    BpeModel::Merges merges;
    std::set<std::string> known(tokens.begin(), tokens.end());
    for (int i = 0; i < 25; ++i) {
      const std::string left = tokens[random.below(tokens.size())];
      const std::string right = tokens[random.below(tokens.size())];
      if (!known.insert(left + right).second) continue;
      tokens.push_back(left + right);
      merges.emplace_back(left, right);
    }
    const BpeModel model(vocabulary(tokens), merges, {}, "test");
    for (int k = 0; k < 20; ++k) {
      std::string word;
      for (uint32_t n = random.below(40); n > 0; --n) word += "abc"[random.below(3)];
      EXPECT_EQ(encode(model, word), slow_encode(tokens, merges, word)) << word;
    }
  }
}

TEST(BpeModel, UnknownCharacters) {
  const std::vector<std::string> tokens = {"<unk>", "a", "<0xC3>", "<0xA9>"};
  BpeOptions options;
  EXPECT_EQ(encode(BpeModel(vocabulary(tokens), {}, options, "test"), "xa"), Ids{1});
  options.unknown = 0;
  EXPECT_EQ(encode(BpeModel(vocabulary(tokens), {}, options, "test"), "xyax"), (Ids{0, 0, 1, 0}));
  options.fuse_unknown = true;
  EXPECT_EQ(encode(BpeModel(vocabulary(tokens), {}, options, "test"), "xyax"), (Ids{0, 1, 0}));
  options.byte_fallback = true;  // both bytes of e-acute are there, only one of e-grave
  EXPECT_EQ(encode(BpeModel(vocabulary(tokens), {}, options, "test"), "\u00E9a\u00E8"),
            (Ids{2, 3, 1, 0}));
}

TEST(BpeModel, IgnoreMergesTakesWholeWords) {
  const std::vector<std::string> tokens = {"a", "b", "ab", "aba"};
  BpeOptions options;
  EXPECT_EQ(encode(BpeModel(vocabulary(tokens), {{"a", "b"}}, options, "test"), "aba"),
            (Ids{2, 0}));
  options.ignore_merges = true;
  const BpeModel model(vocabulary(tokens), {{"a", "b"}}, options, "test");
  EXPECT_EQ(encode(model, "aba"), Ids{3});
  EXPECT_EQ(encode(model, "abab"), (Ids{2, 2}));
}

TEST(BpeModel, SpecialTokensAreNoPiecesOfWords) {
  const std::vector<std::string> tokens = {"a", "b", "ab", "aba"};
  const BpeModel::Merges merges = {{"a", "b"}, {"ab", "a"}};
  BpeOptions options;
  options.special = {"aba"};
  options.ignore_merges = true;
  EXPECT_EQ(encode(BpeModel(vocabulary(tokens), merges, options, "test"), "aba"), (Ids{2, 0}));
  options.special = {"ab"};
  EXPECT_EQ(encode(BpeModel(vocabulary(tokens), merges, options, "test"), "abab"),
            (Ids{0, 1, 0, 1}));
}

TEST(BpeModel, MergesOutsideTheVocabularyAreErrors) {
  EXPECT_THROW(BpeModel(vocabulary({"a", "b"}), {{"a", "b"}}, {}, "test"), Error);
  EXPECT_THROW(BpeModel(vocabulary({"a", "ab"}), {{"a", "b"}}, {}, "test"), Error);
}

// A word of a million characters: quadratic work would take hours.
TEST(BpeModel, LongWords) {
  const BpeModel model(vocabulary({"a", "aa", "aaaa"}), {{"a", "a"}, {"aa", "aa"}}, {}, "test");
  EXPECT_EQ(encode(model, std::string(1'000'001, 'a')).size(), 250'001u);
}

}  // namespace
}  // namespace bitsmith
