#include "base/byte_size.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace bitsmith {
namespace {

uint64_t parsed(const std::string& text) {
  ByteSize size;
  parse_option(text, size);
  return size.bytes;
}

TEST(ByteSize, Units) {
  EXPECT_EQ(parsed("1"), 1u);
  EXPECT_EQ(parsed("512MiB"), 512u << 20);
  EXPECT_EQ(parsed("1.5 GiB"), 3u << 29);
  EXPECT_EQ(parsed("2gb"), 2'000'000'000u);
  EXPECT_EQ(parsed("3kB"), 3000u);
  EXPECT_EQ(parsed("0.29GB"), 290'000'000u);
}

TEST(ByteSize, NotASize) {
  for (const char* text :
       {"", "GiB", "0", "-1MB", "1XB", "1e3", "inf", "nan", "4096TiB1", "9999999TiB"})
    EXPECT_THROW(parsed(text), UsageError) << text;
}

TEST(ByteSize, TextIsReadBack) {
  for (const uint64_t bytes : {1ull, 1000ull, 1024ull, 1'500'000ull, 3ull << 20, 1ull << 40}) {
    const std::string text = option_text(ByteSize{bytes});
    EXPECT_EQ(parsed(text), bytes) << text;
  }
  EXPECT_EQ(option_text(ByteSize{2ull << 30}), "2GiB");
  EXPECT_EQ(option_text(ByteSize{48'000'000}), "48MB");
}

}  // namespace
}  // namespace bitsmith
