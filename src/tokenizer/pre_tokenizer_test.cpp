#include "tokenizer/pre_tokenizer.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace bitsmith {
namespace {

using Strings = std::vector<std::string>;

Strings words(const Json& json, const std::string& text, bool at_start = true) {
  const Pieces pieces = PreTokenizer(json, "test").apply(text, at_start);
  Strings out;
  for (const Span& span : pieces.spans)
    out.push_back(pieces.text.substr(span.begin, span.end - span.begin));
  return out;
}

Json split(const std::string& behavior, bool invert = false) {
  return {{"type", "Split"},
          {"pattern", {{"String", "-"}}},
          {"behavior", behavior},
          {"invert", invert}};
}

TEST(PreTokenizer, SplitBehaviors) {
  const std::string text = "-a--b-";
  EXPECT_EQ(words(split("Removed"), text), (Strings{"a", "b"}));
  EXPECT_EQ(words(split("Isolated"), text), (Strings{"-", "a", "-", "-", "b", "-"}));
  EXPECT_EQ(words(split("MergedWithPrevious"), text), (Strings{"-", "a-", "-", "b-"}));
  EXPECT_EQ(words(split("MergedWithNext"), text), (Strings{"-a", "-", "-b", "-"}));
  EXPECT_EQ(words(split("Contiguous"), text), (Strings{"-", "a", "--", "b", "-"}));
  EXPECT_EQ(words(split("Removed", true), text), (Strings{"-", "-", "-", "-"}));
  EXPECT_EQ(words(split("MergedWithPrevious", true), text), (Strings{"-a", "-", "-b", "-"}));
  EXPECT_EQ(words(split("Isolated"), ""), Strings{});
  EXPECT_THROW(words(split("Sideways"), text), Error);
}

TEST(PreTokenizer, DigitsAndPunctuation) {
  Json digits = {{"type", "Digits"}, {"individual_digits", true}};
  EXPECT_EQ(words(digits, "ab12\u00BDc"), (Strings{"ab", "1", "2", "\u00BD", "c"}));
  digits["individual_digits"] = false;
  EXPECT_EQ(words(digits, "ab12\u00BDc"), (Strings{"ab", "12\u00BD", "c"}));
  EXPECT_EQ(words({{"type", "Punctuation"}}, "a,!b"), (Strings{"a", ",", "!", "b"}));
  EXPECT_EQ(words({{"type", "Punctuation"}, {"behavior", "Contiguous"}}, "a,!b"),
            (Strings{"a", ",!", "b"}));
}

TEST(PreTokenizer, ByteLevel) {
  Json json = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  EXPECT_EQ(words(json, "I'm it  is\n"),
            (Strings{"I", "'m", "\u0120it", "\u0120", "\u0120is", "\u010A"}));
  json["add_prefix_space"] = true;
  EXPECT_EQ(words(json, "I"), Strings{"\u0120I"});
  EXPECT_EQ(words(json, " I"), Strings{"\u0120I"});
  json["use_regex"] = false;
  EXPECT_EQ(words(json, "a b"), Strings{"\u0120a\u0120b"});
}

TEST(PreTokenizer, Metaspace) {
  Json json = {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "always"}};
  EXPECT_EQ(words(json, "a b"), (Strings{"_a", "_b"}));
  EXPECT_EQ(words(json, " a  b", false), (Strings{"_a", "_", "_b"}));
  EXPECT_EQ(words(json, "a", false), Strings{"_a"});
  json["prepend_scheme"] = "first";
  EXPECT_EQ(words(json, "a"), Strings{"_a"});
  EXPECT_EQ(words(json, "a", false), Strings{"a"});
  json["split"] = false;
  EXPECT_EQ(words(json, "a b"), Strings{"_a_b"});
  json["prepend_scheme"] = "never";
  EXPECT_EQ(words(json, "a b"), Strings{"a_b"});
  // The older spelling.
  EXPECT_EQ(words({{"type", "Metaspace"}, {"replacement", "_"}, {"add_prefix_space", false}}, "a"),
            Strings{"a"});
  EXPECT_THROW(words({{"type", "Metaspace"}, {"replacement", "__"}}, "a"), Error);
}

TEST(PreTokenizer, SequencesKeepWhereTheTextStarts) {
  const Json metaspace = {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "first"}};
  EXPECT_EQ(words({{"type", "Sequence"}, {"pretokenizers", {split("Isolated"), metaspace}}}, "a-b"),
            (Strings{"_a", "-", "b"}));
  EXPECT_EQ(words({{"type", "Sequence"}, {"pretokenizers", {split("Removed"), metaspace}}}, "-b"),
            Strings{"b"});
}

TEST(PreTokenizer, UnsupportedTypesAreNamed) {
  try {
    words({{"type", "BertPreTokenizer"}}, "a");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("'BertPreTokenizer' is not supported; supported"),
              std::string::npos);
  }
}

// Each ByteLevel doubles a text of control characters: a chain of them must not eat the memory.
TEST(PreTokenizer, ExpandingChainsAreStopped) {
  Json steps = Json::array();
  for (int i = 0; i < 60; ++i) steps.push_back({{"type", "ByteLevel"}, {"use_regex", false}});
  EXPECT_THROW(words({{"type", "Sequence"}, {"pretokenizers", steps}}, "\n"), Error);
}

}  // namespace
}  // namespace bitsmith
