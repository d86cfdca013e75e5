#include "base/error.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <new>

namespace bitsmith {
namespace {

TEST(Excerpt, PlainTextStays) {
  EXPECT_EQ(excerpt(""), "");
  EXPECT_EQ(excerpt("model.layers.0"), "model.layers.0");
  EXPECT_EQ(excerpt("Stra\u00DFe \u4E2D \U0001F600 a\\b"), "Stra\u00DFe \u4E2D \U0001F600 a\\b");
}

TEST(Excerpt, ControlCharactersAreEscaped) {
  EXPECT_EQ(excerpt("\x1b[31mred\r\n\t\x7f"), "\\x1b[31mred\\x0d\\n\\t\\x7f");
  EXPECT_EQ(excerpt(std::string_view("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(excerpt("\u009B31m"), "\\u009b31m");  // the same as ESC [
  EXPECT_EQ(excerpt("\u202Egnp.exe"), "\\u202egnp.exe");
}

TEST(Excerpt, InvalidUtf8IsEscaped) {
  EXPECT_EQ(excerpt("\xff"
                    "a"),
            "\\xffa");
  EXPECT_EQ(excerpt("\xe4\xb8"), "\\xe4\\xb8");           // ends inside a character
  EXPECT_EQ(excerpt("\xc0\xaf"), "\\xc0\\xaf");           // overlong
  EXPECT_EQ(excerpt("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
}

TEST(Excerpt, LongTextIsClippedBetweenCharacters) {
  EXPECT_EQ(excerpt("abcdef", 6), "abcdef");
  EXPECT_EQ(excerpt("abcdefg", 6), "abcdef... (7 bytes)");
  EXPECT_EQ(excerpt("abcde\u4E2D", 6), "abcde... (8 bytes)");
  EXPECT_LT(excerpt(std::string(1 << 20, '\x1b')).size(), 120u);
}

TEST(ErrorMessage, IsFitForATerminal) {
  EXPECT_STREQ(Error("one\ntwo \x1b[2J").what(), "one\ntwo \\x1b[2J");
  EXPECT_LT(std::string(UsageError(std::string(1 << 20, 'x')).what()).size(), 9000u);
}

TEST(ForeignErrors, OwnErrorsStayAsTheyAre) {
  EXPECT_EQ(error_message(Error("cannot read a\nb")), "cannot read a\nb");
  EXPECT_EQ(error_message(UsageError("no such option")), "no such option");
}

TEST(ForeignErrors, LibTorchWithoutStackTrace) {
  const std::runtime_error error(
      "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)\n"
      "Exception raised from meta at ../aten/src/ATen/native/LinearAlgebra.cpp:196 (most recent "
      "call first):\nframe #0: c10::Error::Error(c10::SourceLocation, std::string) + 0x80 "
      "(0x7f)\n");
  EXPECT_EQ(error_message(error),
            "unexpected error: mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)");
  const std::runtime_error memory(
      "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
      "you "
      "tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)\nframe #0: x");
  EXPECT_EQ(error_message(memory).find("not enough memory (can't allocate memory: you tried"), 0u);
  EXPECT_EQ(error_message(memory).find("frame"), std::string::npos);
}

TEST(ForeignErrors, MemoryAndFiles) {
  EXPECT_EQ(error_message(std::bad_alloc()).find("not enough memory; "), 0u);
  try {
    std::filesystem::create_directories("/proc/no/folder");
    FAIL();
  } catch (const std::exception& error) {
    const std::string message = error_message(error);
    EXPECT_NE(message.find("/proc/no"), std::string::npos) << message;
    EXPECT_EQ(message.find("filesystem error"), std::string::npos) << message;
    EXPECT_EQ(message.find('['), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace bitsmith
