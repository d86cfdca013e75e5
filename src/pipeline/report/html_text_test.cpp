#include "pipeline/report/html_text.h"

#include <gtest/gtest.h>

namespace bitsmith {
namespace {

TEST(HtmlText, EscapesWhatWouldBeRead) {
  EXPECT_EQ(html_text("plain text, 5 %"), "plain text, 5 %");
  EXPECT_EQ(html_text("<script>alert('1' & \"2\")</script>"),
            "&lt;script&gt;alert(&#39;1&#39; &amp; &quot;2&quot;)&lt;/script&gt;");
  EXPECT_EQ(html_text("&lt;"), "&amp;lt;");
  EXPECT_EQ(html_text("a\nb\tc"), "a\nb\tc");
}

TEST(HtmlText, ReplacesWhatIsNoText) {
  EXPECT_EQ(html_text(std::string_view("a\0b\x1b[31m", 8)), "a\uFFFDb\uFFFD[31m");
  EXPECT_EQ(html_text("a\xff\xfe"), "a\uFFFD\uFFFD");
  EXPECT_EQ(html_text("cut \xE2\x82"), "cut \uFFFD");
  EXPECT_EQ(html_text("\u202Eabc"), "\uFFFDabc");
  EXPECT_EQ(html_text("\u00e9\u20ac"), "\u00e9\u20ac");
}

TEST(Shortened, KeepsWholeCharacters) {
  EXPECT_EQ(shortened("abc", 3), "abc");
  EXPECT_EQ(shortened("abcd", 3), "ab\u2026");
  EXPECT_EQ(shortened("\u00e9\u00e9\u00e9\u00e9", 3), "\u00e9\u00e9\u2026");
  EXPECT_EQ(shortened("", 3), "");
  EXPECT_EQ(character_count("a\u00e9\u20ac"), 3u);
}

}  // namespace
}  // namespace bitsmith
