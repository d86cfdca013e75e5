#include "server/api_key.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "architecture/test_models.h"
#include "base/error.h"

namespace bitsmith {
namespace {

TEST(ApiKey, OpensWithTheKeyAlone) {
  const ApiKey key("secret");
  EXPECT_TRUE(key.opens("Bearer secret"));
  EXPECT_TRUE(key.opens("Bearer  secret "));
  for (const char* wrong : {"", "secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets",
                            "bearer secret", "Basic secret", "Bearer Secret"})
    EXPECT_FALSE(key.opens(wrong)) << wrong;
}

TEST(ApiKey, FileThenEnvironment) {
  const testing::TestFolder folder;
  const auto path = folder.path() / "key";
  std::ofstream(path) << " one \ntwo\n";
  ::setenv("BITSMITH_API_KEY", "three", 1);
  EXPECT_TRUE(ApiKey::find(path.string())->opens("Bearer one"));
  EXPECT_TRUE(ApiKey::find("")->opens("Bearer three"));
  ::unsetenv("BITSMITH_API_KEY");
  EXPECT_FALSE(ApiKey::find(""));
  std::ofstream(path) << "\nsecond line\n";
  EXPECT_THROW(ApiKey::find(path.string()), Error);
  EXPECT_THROW(ApiKey::find((folder.path() / "none").string()), Error);
}

}  // namespace
}  // namespace bitsmith
