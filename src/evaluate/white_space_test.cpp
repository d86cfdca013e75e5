#include "evaluate/white_space.h"

#include <gtest/gtest.h>

namespace bitsmith {
namespace {

TEST(WhiteSpace, StripsWhatPythonStrips) {
  EXPECT_EQ(strip_end("a b \t\r\n\x1c\v"), "a b");
  EXPECT_EQ(strip_end("a\xc2\xa0\xe2\x80\x83\xe3\x80\x80"), "a");  // U+00A0, U+2003, U+3000
  EXPECT_EQ(strip("\xe2\x80\xa9 \xc2\x85"
                  "a\x7f"),
            "a\x7f");
  EXPECT_EQ(strip_end("a\xe2\x80\x8b"), "a\xe2\x80\x8b");  // U+200B is no white space
  EXPECT_EQ(strip(" \n "), "");
  EXPECT_EQ(strip(""), "");
}

TEST(WhiteSpace, BytesThatAreNotUtf8Stay) {
  EXPECT_EQ(strip_end("a\xa0"), "a\xa0");
  EXPECT_EQ(strip_end("\xa0\xa0\x80"), "\xa0\xa0\x80");
  EXPECT_EQ(strip("\xe2\x80"), "\xe2\x80");
  EXPECT_EQ(strip_end("\xe2\x80\x83\x83"), "\xe2\x80\x83\x83");
}

}  // namespace
}  // namespace bitsmith
