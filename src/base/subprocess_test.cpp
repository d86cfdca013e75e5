#include "base/subprocess.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace bitsmith {
namespace {

TEST(Subprocess, OutputOfAProgram) {
  EXPECT_EQ(output_of({"/bin/sh", "-c", "printf '%s,' \"$@\"", "sh", "a b", ""}), "a b,,");
  EXPECT_THROW(output_of({"/bin/sh", "-c", "exit 3"}), Error);
  EXPECT_THROW(output_of({"/no/such/program"}), Error);
}

TEST(Subprocess, BesideThisProgram) {
  EXPECT_EQ(beside_this_program("other"),
            std::filesystem::canonical("/proc/self/exe").parent_path() / "other");
}

TEST(Subprocess, BecomesAnotherProgram) {
  char name[] = "sh", option[] = "-c", script[] = "exit 7";
  char* const words[] = {name, option, script, nullptr};
  EXPECT_EXIT(become("/bin/sh", words), testing::ExitedWithCode(7), "");
  EXPECT_THROW(become("/no/such/program", words), Error);
}

}  // namespace
}  // namespace bitsmith
