#include "tokenizer/utf8.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {
namespace {

const std::string kReplacement = "\uFFFD";

TEST(Utf8, EveryScalarValueSurvives) {
  std::string all;
  for (char32_t c = 0; c < 0x110000; ++c)
    if (c < 0xD800 || c > 0xDFFF) append_utf8(all, c);
  EXPECT_TRUE(is_valid_utf8(all));
  EXPECT_EQ(repair_utf8(all), all);
  std::string_view rest = all;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    const Utf8Unit unit = next_utf8(rest);
    ASSERT_EQ(unit.code_point, c);
    ASSERT_EQ(unit.state, Utf8Unit::State::kWhole);
    rest.remove_prefix(unit.length);
  }
}

// The examples of the standard, section 3.9, tables 3-8 to 3-11.
TEST(Utf8, RepairReplacesMaximalSubparts) {
  const auto r = [](int n) {
    std::string out;
    while (n-- > 0) out += kReplacement;
    return out;
  };
  EXPECT_EQ(repair_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), r(8) + "A");
  EXPECT_EQ(repair_utf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), r(8) + "A");
  EXPECT_EQ(repair_utf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), r(5) + "A" + r(2) + "B");
  EXPECT_EQ(repair_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r(4) + "A");
}

TEST(Utf8, Classes) {
  for (const char32_t c : {U' ', U'\t', U'\u0085', U'\u00A0', U'\u2028', U'\u3000'})
    EXPECT_TRUE(is_white_space(c)) << static_cast<uint32_t>(c);
  for (const char32_t c : {U'a', U'\u180E', U'\u200B', U'\uFEFF', U'\x1F'})
    EXPECT_FALSE(is_white_space(c)) << static_cast<uint32_t>(c);
  EXPECT_TRUE(is_numeric(U'\u00BD') && is_numeric(U'\u2167') && is_numeric(U'\u0667'));
  EXPECT_FALSE(is_numeric(U'x') || is_numeric(U'\u4E00'));
  EXPECT_TRUE(is_punctuation(U'$') && is_punctuation(U'\u3002') && is_punctuation(U'~'));
  EXPECT_FALSE(is_punctuation(U'\u20AC') || is_punctuation(U'a') || is_punctuation(U'Z'));
  EXPECT_EQ(leading_space(" \u3000x "), 4u);
  EXPECT_EQ(trailing_space("x \u3000"), 4u);
  EXPECT_EQ(trailing_space(""), 0u);
}

TEST(Utf8Stream, AnySplitGivesTheRepairedText) {
  Random random(3);
  const std::string source = "a\u00E9\u20AC\U0001F600\xFF\xE2\x82z\xF0\x9F";
  for (int round = 0; round < 200; ++round) {
    Utf8Stream stream;
    std::string out;
    for (size_t i = 0; i < source.size();) {
      const size_t n = std::min<size_t>(1 + random.below(4), source.size() - i);
      const std::string part = stream.push(source.substr(i, n));
      EXPECT_TRUE(is_valid_utf8(part));
      out += part;
      i += n;
    }
    EXPECT_EQ(out + stream.flush(), repair_utf8(source));
    EXPECT_EQ(stream.flush(), "");
  }
}

TEST(Utf8Stream, GivesCharactersAsSoonAsTheyAreWhole) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("a\xE2\x82"), "a");
  EXPECT_EQ(stream.push("\xAC!"), "\u20AC!");
}

}  // namespace
}  // namespace bitsmith
