#include "evaluate/task_scoring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/random.h"

namespace bitsmith {
namespace {

// A byte is a token; a space and the letter after it are one, and a letter before an apostrophe and
// that; <s> is BOS.
class LetterTokenizer : public Tokenizer {
 public:
  explicit LetterTokenizer(bool adds_bos) : adds_bos_(adds_bos) { bos_id = 0; }

  std::vector<int32_t> encode(std::string_view text, bool add_special, ParseSpecial parse_special,
                              const Deadline&) const override {
    std::vector<int32_t> ids;
    if (adds_bos_ && add_special) ids.push_back(0);
    while (!text.empty()) {
      if (parse_special.at(0, 3) && text.starts_with("<s>")) {
        ids.push_back(0);
        text.remove_prefix(3);
      } else if (text[0] == ' ' && text.size() > 1 && text[1] != ' ') {
        ids.push_back(256 + static_cast<unsigned char>(text[1]));
        text.remove_prefix(2);
      } else if (text.size() > 1 && text[1] == '\'') {
        ids.push_back(384 + static_cast<unsigned char>(text[0]));
        text.remove_prefix(2);
      } else {
        ids.push_back(static_cast<unsigned char>(text[0]));
        text.remove_prefix(1);
      }
    }
    return ids;
  }
  std::string decode(std::span<const int32_t> ids, bool) const override {
    return ids[0] == 0 ? "<s>" : "?";
  }
  std::string token_bytes(int32_t) const override { return ""; }
  int32_t vocab_size() const override { return 512; }
  std::optional<int32_t> token_id(std::string_view) const override { return {}; }
  std::vector<std::string> special_tokens() const override { return {"<s>"}; }

 private:
  bool adds_bos_;
};

// Logits depend on all tokens so far, so that a wrong cut changes them.
class PrefixModel : public LanguageModel {
 public:
  explicit PrefixModel(int64_t vocab = 512) : vocab_(vocab) {}
  int64_t vocab_size() const override { return vocab_; }
  void run(std::span<const int32_t> tokens) override {
    window_.assign(tokens.begin(), tokens.end());
    ++runs;
  }
  void logits(int64_t first, int64_t count, std::span<float> out) override {
    ASSERT_GE(first, 0);
    ASSERT_LE(first + count, std::ssize(window_));
    ASSERT_EQ(std::ssize(out), count * vocab_);
    for (int64_t i = 0; i < count; ++i) {
      const auto row = row_after(std::span(window_).first(static_cast<size_t>(first + i + 1)));
      std::ranges::copy(row, out.begin() + i * vocab_);
    }
    positions += count;
  }
  std::vector<float> row_after(std::span<const int32_t> tokens) const {
    uint64_t seed = 17;
    for (const int32_t token : tokens) seed = seed * 1000003 + static_cast<uint64_t>(token);
    Random random(seed);
    std::vector<float> row(static_cast<size_t>(vocab_));
    for (float& value : row) value = static_cast<float>(2 * random.normal()) + offset;
    return row;
  }
  // By the definition.
  RequestScore score(const TokenRequest& request) const {
    RequestScore score = {0, true};
    for (size_t i = request.tokens.size() - static_cast<size_t>(request.judged);
         i < request.tokens.size(); ++i) {
      const auto row = row_after(std::span(request.tokens).first(i));
      double sum = 0;
      for (const float value : row) sum += std::exp(double{value});
      const auto next = static_cast<size_t>(request.tokens[i]);
      score.log_likelihood += double{row[next]} - std::log(sum);
      score.greedy = score.greedy && row[next] == std::ranges::max(row);
    }
    return score;
  }

  int runs = 0;
  int64_t positions = 0;
  float offset = 0;

 private:
  int64_t vocab_;
  std::vector<int32_t> window_;
};

std::vector<int32_t> letters(std::string_view text) {
  return LetterTokenizer(false).encode(text, false, false, {});
}

TaskItem item_of(std::vector<TaskRequest> requests) {
  TaskItem item;
  item.lengths.assign(requests.size(), 1);
  item.requests = std::move(requests);
  return item;
}

TEST(TaskRequests, SpaceAtTheEndOfTheContextGoesToTheContinuation) {
  const LetterTokenizer tokenizer(false);
  const RequestEncoder encoder(tokenizer, 100, {});
  const auto encoded = encoder.encode(item_of({{"ab ", "cd"}, {"ab\n\xc2\xa0", "d"}}), "here");
  EXPECT_EQ(encoded[0].tokens, letters("ab cd"));
  EXPECT_EQ(encoded[0].judged, 2);  // " c" and "d"
  EXPECT_EQ(encoded[1].tokens, letters("ab\n\xc2\xa0"
                                       "d"));
  EXPECT_EQ(encoded[1].judged, 4);
}

TEST(TaskRequests, TheContextKeepsItsOwnTokens) {
  const LetterTokenizer tokenizer(false);
  const auto encoded =
      RequestEncoder(tokenizer, 100, {}).encode(item_of({{"ab", "'cd"}, {"ab", "c"}}), "here");
  EXPECT_EQ(encoded[0].tokens, (std::vector<int32_t>{'a', 'b', 'c', 'd'}));  // alone: a b' c d
  EXPECT_EQ(encoded[0].judged, 2);
  EXPECT_EQ(encoded[1].tokens, letters("abc"));
}

TEST(TaskRequests, BosIsThereAsTheTokenizerSaysOrAsAskedFor) {
  const LetterTokenizer plain(false), adding(true);
  const TaskItem item = item_of({{"a", " b"}}), begun = item_of({{"<s>a", " b"}});
  const auto first = [](const Tokenizer& tokenizer, std::optional<bool> bos, const TaskItem& item) {
    const auto encoded = RequestEncoder(tokenizer, 100, bos).encode(item, "here");
    EXPECT_EQ(encoded[0].judged, 1);
    return std::pair(encoded[0].tokens.size(), encoded[0].tokens[0]);
  };
  const std::pair<size_t, int32_t> with(3, 0), without(2, 'a');
  EXPECT_EQ(first(plain, {}, item), without);
  EXPECT_EQ(first(adding, {}, item), with);
  EXPECT_EQ(first(adding, false, item), without);
  EXPECT_EQ(first(plain, true, item), with);
  EXPECT_EQ(first(adding, {}, begun), with);  // not twice
  EXPECT_EQ(first(plain, true, begun), with);
  EXPECT_EQ(first(plain, {}, begun), with);  // it is spelled out
}

TEST(TaskRequests, LongOnesAreCutOnTheLeft) {
  const LetterTokenizer tokenizer(true);
  for (const int64_t context : {2, 3, 5, 6, 7}) {
    const auto encoded =
        RequestEncoder(tokenizer, context, {}).encode(item_of({{"abcd", " xy"}}), "here");
    auto whole = tokenizer.encode("abcd xy", true, true, {});  // 7 tokens, of which 2 are judged
    if (context < 6) whole.erase(whole.begin(), whole.end() - (context + 1));
    EXPECT_EQ(encoded[0].tokens, whole) << context;
    EXPECT_EQ(encoded[0].judged, 2);
  }
  try {
    RequestEncoder(tokenizer, 1, {}).encode(item_of({{"abcd", " xy"}}), "task, item 3");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find("task, item 3: the continuation has 2 tokens"), 0u);
  }
}

TEST(TaskRequests, NothingToJudgeIsAnError) {
  const LetterTokenizer tokenizer(false);
  const RequestEncoder encoder(tokenizer, 10, {});
  EXPECT_THROW(encoder.encode(item_of({{"a", ""}}), "here"), Error);
  EXPECT_THROW(encoder.encode(item_of({{"a", "'"}}), "here"), Error);
  EXPECT_THROW(encoder.encode(item_of({{" ", "a"}}), "here"), Error);
}

TEST(TaskScoring, AgreesWithTheDefinition) {
  PrefixModel model;
  std::vector<TokenRequest> requests;
  Random random(3);
  for (const size_t size : {2, 3, 40, 90, 9}) {
    TokenRequest request;
    for (size_t i = 0; i < size; ++i)
      request.tokens.push_back(static_cast<int32_t>(random.below(512)));
    request.judged = 1 + static_cast<int64_t>(random.below(static_cast<uint32_t>(size - 1)));
    requests.push_back(request);
  }
  requests[3].judged = 80;  // more than a chunk of positions
  const auto scores = score_requests(model, requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    const double expected = model.score(requests[i]).log_likelihood;
    EXPECT_NEAR(scores[i].log_likelihood, expected, 1e-5 * std::abs(expected));
  }
  EXPECT_EQ(model.runs, 5);
}

TEST(TaskScoring, GreedyIsEveryTokenTheMostLikely) {
  PrefixModel model;
  TokenRequest request{{1, 2, 3}, 3};
  for (int i = 0; i < 3; ++i) {
    const auto row = model.row_after(request.tokens);
    request.tokens.push_back(static_cast<int32_t>(std::ranges::max_element(row) - row.begin()));
  }
  EXPECT_TRUE(score_requests(model, {&request, 1})[0].greedy);
  request.judged = 4;
  EXPECT_FALSE(score_requests(model, {&request, 1})[0].greedy);
  request.judged = 3;
  request.tokens.back() ^= 1;
  EXPECT_FALSE(score_requests(model, {&request, 1})[0].greedy);
}

TEST(TaskScoring, EqualWindowsShareAPass) {
  PrefixModel model;
  const std::vector<TokenRequest> requests = {
      {{1, 2, 3, 4}, 1}, {{9, 2, 3, 4}, 2}, {{1, 2, 3, 5}, 3}, {{1, 2, 3, 4}, 2}};
  const auto scores = score_requests(model, requests);
  EXPECT_EQ(model.runs, 2);
  EXPECT_EQ(model.positions, 5);
  for (size_t i = 0; i < requests.size(); ++i)
    EXPECT_NEAR(scores[i].log_likelihood, model.score(requests[i]).log_likelihood, 1e-5);
}

TEST(TaskScoring, WhatCannotBeJudgedIsAnError) {
  PrefixModel small(4), broken;
  const TokenRequest request{{1, 2, 5}, 1};
  EXPECT_THROW(score_requests(small, {&request, 1}), Error);
  broken.offset = std::numeric_limits<float>::infinity();
  EXPECT_THROW(score_requests(broken, {&request, 1}), Error);
}

TEST(TaskScoring, FiguresAgreeWithTheDefinitions) {
  const Task by_length = {"t", TaskScoring::kChoiceByLength, {}, nullptr};
  TaskItem item = item_of({{"c", "x"}, {"c", "y"}, {"c", "z"}});
  item.lengths = {2, 10, 1};
  std::vector<TaskItem> items(4, item);
  items[0].gold = 0;  // the most likely
  items[1].gold = 1;  // the most likely a character
  items[2].gold = 2;  // none
  items[3].gold = 0;  // the first of equals, by both
  const std::vector<RequestScore> unlike = {{-5, false}, {-6, true}, {-7, false}};
  const std::vector<RequestScore> equal = {{-2, false}, {-10, false}, {-1, false}};
  std::vector<std::vector<RequestScore>> scores(4, unlike);
  scores[3] = equal;
  scores[3][2].log_likelihood = -2;
  scores[3][1].log_likelihood = -10;
  const TaskScores result = task_scores(by_length, items, scores);
  EXPECT_EQ(result.items, 4);
  EXPECT_DOUBLE_EQ(result.accuracy.mean, 0.5);
  EXPECT_DOUBLE_EQ(result.accuracy.error, std::sqrt(1.0 / 3 / 4));
  ASSERT_TRUE(result.accuracy_by_length);
  EXPECT_DOUBLE_EQ(result.accuracy_by_length->mean, 0.5);
  EXPECT_FALSE(result.perplexity);

  const Task choice = {"t", TaskScoring::kChoice, {}, nullptr};
  EXPECT_FALSE(task_scores(choice, items, scores).accuracy_by_length);

  const Task word = {"t", TaskScoring::kWord, {}, nullptr};
  const std::vector<TaskItem> words(3, item_of({{"c", "x"}}));
  const std::vector<std::vector<RequestScore>> guesses = {
      {{-1, true}}, {{-4, false}}, {{-1, false}}};
  const TaskScores guessed = task_scores(word, words, guesses);
  EXPECT_DOUBLE_EQ(guessed.accuracy.mean, 1.0 / 3);
  ASSERT_TRUE(guessed.perplexity);
  EXPECT_DOUBLE_EQ(guessed.perplexity->mean, std::exp(2.0));
  EXPECT_DOUBLE_EQ(guessed.perplexity->error, std::exp(2.0) * std::sqrt(3.0 / 3));
  EXPECT_EQ(
      task_scores(word, std::span(words).first(1), std::span(guesses).first(1)).accuracy.error, 0);
}

}  // namespace
}  // namespace bitsmith
