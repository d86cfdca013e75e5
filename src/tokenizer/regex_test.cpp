#include "tokenizer/regex.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"

namespace bitsmith {
namespace {

std::vector<std::string> matches(const std::string& pattern, const std::string& text) {
  std::vector<std::string> out;
  Regex(pattern, "test").for_each_match(text, [&](Span m) {
    out.push_back(text.substr(m.begin, m.end - m.begin));
  });
  return out;
}
using Strings = std::vector<std::string>;

TEST(Regex, UnicodeClasses) {
  EXPECT_EQ(matches(R"(\p{L}+|\p{N})", "\u00C9t\u00E9 42 \u0665"),
            (Strings{"\u00C9t\u00E9", "4", "2", "\u0665"}));
  EXPECT_EQ(matches("(?i:'S)", "'s 'S '\u017F"), (Strings{"'s", "'S", "'\u017F"}));
}

// The dialect is Oniguruma's: \s without U+180E, \w with marks, ^ at every line.
TEST(Regex, Dialect) {
  EXPECT_EQ(matches(R"(\s)", "a\u180E \u0085"), (Strings{" ", "\u0085"}));
  EXPECT_EQ(matches(R"([^\s]+)", "a\u180Eb c"), (Strings{"a\u180Eb", "c"}));
  EXPECT_EQ(matches(R"(\S+)", "a b"), (Strings{"a", "b"}));
  EXPECT_EQ(matches(R"(\w+)", "e\u0301_1-2"), (Strings{"e\u0301_1", "2"}));
  EXPECT_EQ(matches("^.", "ab\ncd"), (Strings{"a", "c"}));
  EXPECT_EQ(matches(R"([]a]+)", "]a]"), (Strings{"]a]"}));
}

TEST(Regex, EmptyMatchesMoveOn) {
  EXPECT_EQ(matches("x*", "axb"), (Strings{"", "x", ""}));
  EXPECT_EQ(matches("x*", "\u00E9"), (Strings{"", ""}));
}

TEST(Regex, EscapedLiteralsMatchThemselves) {
  const std::string literal = "a.b*[c](d)|^$\\ #-{e}";
  EXPECT_EQ(matches(Regex::escape(literal), "x" + literal + "y"), Strings{literal});
}

TEST(Regex, WhatCannotBeTranslatedIsAnError) {
  for (const char* pattern :
       {"(", "[a&&b]", "[a[b]]", R"(\h)", R"([[:alpha)", "a{3,2}", R"(\p{Q})"})
    EXPECT_THROW(Regex(pattern, "test"), Error) << pattern;
  EXPECT_THROW(Regex(std::string(1 << 20, 'a'), "test"), Error);
}

TEST(Regex, LongRunsNeedNoDeepStack) {
  const std::string blanks(2'000'000, ' ');
  EXPECT_EQ(matches(R"(\s+(?!\S)|\s+)", blanks + "x").size(), 2u);
  EXPECT_EQ(matches("(?:a|b)+", std::string(300'000, 'a')).size(), 1u);
}

TEST(Regex, ARunawayPatternIsAnError) {
  EXPECT_THROW(matches("(a+)+$", std::string(60, 'a') + "!"), Error);
}

}  // namespace
}  // namespace bitsmith
