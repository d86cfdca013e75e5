#include "base/error.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <new>

namespace bitsmith {
namespace {

TEST(ErrorMessage, OwnErrorsAreKept) {
  EXPECT_EQ(error_message(Error("cannot read a\nb")), "cannot read a\nb");
  EXPECT_EQ(error_message(UsageError("no such option")), "no such option");
}

TEST(ErrorMessage, LibTorchWithoutStackTrace) {
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

TEST(ErrorMessage, MemoryAndFiles) {
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
