#include "base/scratch_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

TEST(ScratchMemory, IsZeroKeepsWhatIsWrittenAndLeavesNoFile) {
  const fs::path folder = fs::path(testing::TempDir()) / concat("scratch_", ::getpid());
  fs::create_directories(folder);
  {
    const auto first = ScratchMemory::allocate(folder, 100001),
               second = ScratchMemory::allocate(folder, 1);
    EXPECT_TRUE(fs::is_empty(folder));
    EXPECT_TRUE(std::all_of(first->data(), first->data() + first->size(),
                            [](std::byte b) { return b == std::byte{0}; }));
    for (size_t i = 0; i < first->size(); ++i) first->data()[i] = static_cast<std::byte>(i * 7);
    second->data()[0] = std::byte{1};
    for (size_t i = 0; i < first->size(); ++i)
      ASSERT_EQ(first->data()[i], static_cast<std::byte>(i * 7));
  }
  EXPECT_TRUE(fs::is_empty(folder));
  fs::remove_all(folder);
}

TEST(ScratchMemory, NamesTheFolderThatCannotHoldIt) {
  for (const auto& [folder, size] : {std::pair<std::string, size_t>("/nowhere/at/all", 1),
                                     {testing::TempDir(), size_t{1} << 62}}) {
    try {
      ScratchMemory::allocate(folder, size);
      FAIL() << folder;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(folder), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace bitsmith
