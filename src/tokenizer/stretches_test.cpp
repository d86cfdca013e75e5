#include "tokenizer/stretches.h"

#include <gtest/gtest.h>

#include "tokenizer/normalizer.h"
#include "tokenizer/utf8.h"

namespace bitsmith {
namespace {

Json replace(const char* kind, const char* pattern, const char* content) {
  return {{"type", "Replace"}, {"pattern", {{kind, pattern}}}, {"content", content}};
}

struct Case {
  Json normalizer;
  std::string text;
  Span stretch;
  std::string inside;  // what of the result is the stretch's
};

TEST(Stretches, HoldWhatWasMadeOfTheirBytes) {
  const Case cases[] = {
      {{{"type", "Prepend"}, {"prepend", "__"}}, "abc", {0, 1}, "a"},
      {replace("String", " ", "\u2581"), "a b c d", {2, 5}, "b\u2581c"},
      {replace("Regex", " +", "_"), "a   b", {2, 5}, "_b"},  // a part of a match is all of it
      {replace("Regex", " +", ""), "a   b", {0, 2}, "a"},
      {{{"type", "NFC"}}, "xe\u0301y", {1, 4}, "\u00E9"},
      {{{"type", "NFC"}}, "xe\u0301y", {2, 4}, "\u00E9"},  // the mark alone changed its letter
      {{{"type", "NFKC"}}, "a\uFF1Cb", {1, 4}, "<"},
      {{{"type", "NFD"}}, "ab\u00E9 c", {0, 1}, "a"},
      {{{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}}, "  ab  ", {1, 3}, "a"},
      {{{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}}, "  ab  ", {4, 6}, ""},
      {{{"type", "Lowercase"}}, "A\u0130B", {1, 3}, "i\u0307"},
      {{{"type", "StripAccents"}}, "ae\u0301b", {1, 5}, "eb"},
  };
  for (const Case& c : cases) {
    const Normalizer normalizer(c.normalizer, "test");
    std::vector<Span> stretches = {c.stretch};
    const std::string text = normalizer.apply(c.text, stretches);
    EXPECT_EQ(text, normalizer.apply(c.text));
    ASSERT_EQ(stretches.size(), 1u);
    ASSERT_LE(stretches[0].begin, stretches[0].end);
    ASSERT_LE(stretches[0].end, text.size());
    EXPECT_EQ(text.substr(stretches[0].begin, stretches[0].end - stretches[0].begin), c.inside)
        << c.normalizer << c.text;
  }
}

// In whatever pieces a text is told to be foreign, the pieces of the result cover it.
TEST(Stretches, CoverTheWholeResult) {
  const Json steps = {{"type", "Sequence"},
                      {"normalizers",
                       {{{"type", "NFKC"}},
                        {{"type", "Lowercase"}},
                        replace("Regex", " {2,}", " "),
                        replace("String", "b", "bb")}}};
  const Normalizer normalizer(steps, "test");
  const std::string text = "Ab  e\u0301\u0302 \uFB01 B\u1100\u1161 b";
  std::vector<Span> stretches;
  for (size_t at = 0; at < text.size();) {
    const size_t length = static_cast<size_t>(next_utf8(std::string_view(text).substr(at)).length);
    stretches.push_back({at, at + length});
    at += length;
  }
  const std::string result = normalizer.apply(text, stretches);
  std::vector<bool> covered(result.size());
  for (size_t i = 0; i < stretches.size(); ++i) {
    if (i > 0) {
      EXPECT_LE(stretches[i - 1].begin, stretches[i].begin);
      EXPECT_LE(stretches[i - 1].end, stretches[i].end);
    }
    for (size_t at = stretches[i].begin; at < stretches[i].end; ++at) covered[at] = true;
  }
  for (size_t at = 0; at < covered.size(); ++at) EXPECT_TRUE(covered[at]) << at;
}

}  // namespace
}  // namespace bitsmith
