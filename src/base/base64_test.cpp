#include "base/base64.h"

#include <gtest/gtest.h>

#include <utility>

namespace bitsmith {
namespace {

// Section 10 of the RFC, and the two digits that are no letters or numbers.
TEST(Base64, ExamplesOfTheRfc) {
  const std::pair<std::string, std::string> examples[] = {{"", ""},
                                                          {"f", "Zg=="},
                                                          {"fo", "Zm8="},
                                                          {"foo", "Zm9v"},
                                                          {"foob", "Zm9vYg=="},
                                                          {"fooba", "Zm9vYmE="},
                                                          {"foobar", "Zm9vYmFy"},
                                                          {"\xFB\xFF", "+/8="}};
  for (const auto& [bytes, text] : examples) {
    EXPECT_EQ(encode_base64(bytes), text);
    EXPECT_EQ(decode_base64(text), bytes);
    EXPECT_EQ(decode_base64(text.substr(0, text.find('='))), bytes);
  }
}

TEST(Base64, OtherCharactersAreNoBase64) {
  for (const char* text : {"Zm9v!", "Zm 9v", "Zg==Zg==", "\xC3\xA9"})
    EXPECT_EQ(decode_base64(text), std::nullopt) << text;
}

}  // namespace
}  // namespace bitsmith
