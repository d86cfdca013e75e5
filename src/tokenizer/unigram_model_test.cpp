#include "tokenizer/unigram_model.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace bitsmith {
namespace {

using Ids = std::vector<int32_t>;

Ids encode(const UnigramModel& model, const std::string& word) {
  Ids ids;
  model.encode(word, {}, ids);
  return ids;
}

// The best sum of scores by trying every way to cut.
double best_score(const UnigramModel::Parts& parts, const std::string& word) {
  if (word.empty()) return 0;
  double best = -1e9;
  for (size_t id = 1; id < parts.tokens.size(); ++id)
    if (word.starts_with(parts.tokens[id]))
      best = std::max(best,
                      parts.scores[id] + best_score(parts, word.substr(parts.tokens[id].size())));
  return best;
}

TEST(UnigramModel, EqualsTheDefinition) {
  Random random(5);
  for (int round = 0; round < 30; ++round) {
    UnigramModel::Parts parts;
    parts.tokens = {"<unk>", "a", "b", "ab", "ba", "aab", "bb", "abab"};
    for (size_t id = 0; id < parts.tokens.size(); ++id)
      parts.scores.push_back(id == 0 ? 0 : -1 - static_cast<double>(random.below(1000)) / 100);
    const UnigramModel model(parts);
    for (int k = 0; k < 20; ++k) {
      std::string word;
      for (uint32_t n = random.below(12); n > 0; --n) word += "ab"[random.below(2)];
      double score = 0;
      std::string text;
      for (const int32_t id : encode(model, word)) {
        score += parts.scores[static_cast<size_t>(id)];
        text += parts.tokens[static_cast<size_t>(id)];
      }
      EXPECT_EQ(text, word);
      EXPECT_NEAR(score, best_score(parts, word), 1e-9) << word;
    }
  }
}

TEST(UnigramModel, UnknownCharacters) {
  UnigramModel::Parts parts;
  parts.tokens = {"<unk>", "a", "<0xC3>", "<0xA9>", "</s>"};
  parts.scores = {0, -1, 0, 0, 0};
  parts.special = {"</s>"};
  EXPECT_EQ(encode(UnigramModel(parts), "xya\u00E9"), (Ids{0, 1, 0}));
  EXPECT_EQ(encode(UnigramModel(parts), "</s>a"), (Ids{0, 1}));  // a special token is no piece
  parts.byte_fallback = true;
  EXPECT_EQ(encode(UnigramModel(parts), "a\u00E9x"), (Ids{1, 0}));  // all neighbors or none
  EXPECT_EQ(encode(UnigramModel(parts), "a\u00E9"), (Ids{1, 2, 3}));
}

TEST(UnigramModel, LongWords) {
  UnigramModel::Parts parts;
  parts.tokens = {"<unk>", "a", "aaaa"};
  parts.scores = {0, -1, -1};
  const UnigramModel model(parts);
  EXPECT_EQ(encode(model, std::string(400'000, 'a')).size(), 100'000u);
  EXPECT_EQ(encode(model, std::string(400'000, 'x')).size(), 1u);
}

}  // namespace
}  // namespace bitsmith
