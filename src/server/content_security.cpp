#include "server/content_security.h"

#include <cstdint>

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

// RFC 4648, section 4.
std::string base64(const std::string& bytes) {
  constexpr const char* kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j)
      group = group << 8 | (i + j < bytes.size() ? static_cast<uint8_t>(bytes[i + j]) : 0);
    for (size_t j = 0; j < 4; ++j)
      text += i + j <= bytes.size() ? kDigits[group >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

// " 'sha256-...'" for each element of this name.
std::string hashes(const std::string& page, const std::string& element) {
  const std::string open = "<" + element + ">", close = "</" + element + ">";
  std::string sources;
  for (size_t begin = 0; (begin = page.find(open, begin)) != std::string::npos;) {
    begin += open.size();
    const size_t end = page.find(close, begin);
    BITSMITH_CHECK(end != std::string::npos);
    sources += " 'sha256-" + base64(bytes_of_hex(sha256(page.substr(begin, end - begin)))) + "'";
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
