#include "server/content_security.h"

#include <gtest/gtest.h>

namespace bitsmith {
namespace {

// The hashes are of the empty text and of "abc" (FIPS 180-2's example).
TEST(ContentSecurity, HashesOfInlineElements) {
  const std::string policy =
      content_security_policy("<style></style><script>abc</script><p>x</p><script></script>");
  const std::string empty = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='";
  const std::string abc = "'sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0='";
  EXPECT_NE(policy.find("script-src " + abc + " " + empty + ";"), std::string::npos) << policy;
  EXPECT_NE(policy.find("style-src " + empty + ";"), std::string::npos) << policy;
  EXPECT_TRUE(policy.starts_with("default-src 'none';"));
}

}  // namespace
}  // namespace bitsmith
