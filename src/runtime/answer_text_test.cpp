#include "runtime/answer_text.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace bitsmith {
namespace {

struct Outcome {
  std::vector<std::string> pieces;
  std::string text;
  bool stopped;
};

Outcome answer(const std::vector<std::string>& tokens, const std::vector<std::string>& stop) {
  AnswerText text(stop);
  Outcome outcome;
  const auto add = [&](const std::string& piece) {
    outcome.pieces.push_back(piece);
    outcome.text += piece;
  };
  for (const std::string& token : tokens) {
    add(text.push(token));
    if (text.stopped()) break;
  }
  add(text.finish());
  outcome.stopped = text.stopped();
  return outcome;
}

TEST(AnswerText, WithoutStopStringsEverythingComesAtOnce) {
  const Outcome outcome = answer({"Hel", "lo", "\n"}, {});
  EXPECT_EQ(outcome.pieces, (std::vector<std::string>{"Hel", "lo", "\n", ""}));
  EXPECT_FALSE(outcome.stopped);
}

TEST(AnswerText, UnfinishedCharactersAreHeldBack) {
  const Outcome outcome = answer({"a\xE2", "\x82", "\xAC", "b\xF0\x9F"}, {});
  EXPECT_EQ(outcome.pieces,
            (std::vector<std::string>{"a", "", "\xE2\x82\xAC", "b", "\xEF\xBF\xBD"}));
}

TEST(AnswerText, StopStringsAcrossTokens) {
  const Outcome outcome = answer({"one\n", "#", "#", " two"}, {"\n##"});
  EXPECT_EQ(outcome.pieces, (std::vector<std::string>{"one", "", "", ""}));
  EXPECT_TRUE(outcome.stopped);
}

TEST(AnswerText, WhatOnlyBeganAStopStringComesLater) {
  const Outcome outcome = answer({"a\n", "b", "\n#"}, {"\n##"});
  EXPECT_EQ(outcome.pieces, (std::vector<std::string>{"a", "\nb", "", "\n#"}));
  EXPECT_FALSE(outcome.stopped);
}

TEST(AnswerText, TheFirstOfSeveralStopStringsCounts) {
  EXPECT_EQ(answer({"abcdef"}, {"ef", "cd", "cdx"}).text, "ab");
  EXPECT_EQ(answer({"abc", "xef"}, {"f", "cx"}).text, "ab");
  EXPECT_EQ(answer({"x", "y"}, {"xyz", "y"}).text, "x");
}

TEST(AnswerText, AStopStringOfCharactersThatTokensCut) {
  const Outcome outcome = answer({"x\xE2\x82", "\xAC", "y"}, {"\xE2\x82\xAC"});
  EXPECT_EQ(outcome.text, "x");
  EXPECT_TRUE(outcome.stopped);
}

// However a text is cut into tokens, it ends before the first stop string.
TEST(AnswerText, CutsDoNotMatter) {
  Random random(1);
  const std::vector<std::string> stop = {"aab", "bb", "c\xC3\xA9"};
  for (int round = 0; round < 500; ++round) {
    std::string text;
    for (int i = 0; i < 20; ++i)
      text += std::vector<std::string>{"a", "b", "c", "\xC3\xA9"}[random.below(4)];
    size_t end = text.size();
    for (const std::string& s : stop) end = std::min(end, text.find(s));
    std::vector<std::string> tokens;
    for (size_t first = 0; first < text.size();) {
      const size_t count = 1 + random.below(3);
      tokens.push_back(text.substr(first, count));
      first += count;
    }
    ASSERT_EQ(answer(tokens, stop).text, text.substr(0, end)) << text;
  }
}

}  // namespace
}  // namespace bitsmith
