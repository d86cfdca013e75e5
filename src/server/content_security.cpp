#include "server/content_security.h"

#include "base/base64.h"
#include "base/error.h"
#include "base/files.h"

namespace bitsmith {
namespace {

std::string bytes_of_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

// " 'sha256-...'" for each element of this name.
std::string hashes(const std::string& page, const std::string& element) {
  const std::string open = "<" + element + ">", close = "</" + element + ">";
  std::string sources;
  for (size_t begin = 0; (begin = page.find(open, begin)) != std::string::npos;) {
    begin += open.size();
    const size_t end = page.find(close, begin);
    BITSMITH_CHECK(end != std::string::npos);
    sources +=
        " 'sha256-" + encode_base64(bytes_of_hex(sha256(page.substr(begin, end - begin)))) + "'";
  }
  return sources;
}

}  // namespace

std::string content_security_policy(const std::string& page) {
  return "default-src 'none'; connect-src 'self'; img-src data:; script-src" +
         hashes(page, "script") + "; style-src" + hashes(page, "style") +
         "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
}

}  // namespace bitsmith
