#include "server/api_key.h"

#include <cstdlib>

#include "base/error.h"
#include "base/files.h"

namespace bitsmith {
namespace {

constexpr std::string_view kScheme = "Bearer ";

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == text.npos) return "";
  return text.substr(first, text.find_last_not_of(kSpace) + 1 - first);
}

}  // namespace

std::optional<ApiKey> ApiKey::find(const std::string& file) {
  if (!file.empty()) {
    const std::string text = read_text_file(file);
    const std::string_view key = trimmed(std::string_view(text).substr(0, text.find('\n')));
    if (key.empty()) throw Error(concat(file, ": its first line is empty: it must be the key"));
    return ApiKey(key);
  }
  const char* key = std::getenv("BITSMITH_API_KEY");
  if (key == nullptr || trimmed(key).empty()) return std::nullopt;
  return ApiKey(trimmed(key));
}

ApiKey::ApiKey(std::string_view key) : hash_(sha256(key)) {}

bool ApiKey::opens(std::string_view authorization) const {
  if (!authorization.starts_with(kScheme)) return false;
  // Hashes are of one length, and say nothing of the keys where they differ.
  const std::string hash = sha256(trimmed(authorization.substr(kScheme.size())));
  unsigned char difference = 0;
  for (size_t i = 0; i < hash_.size(); ++i)
    difference |= static_cast<unsigned char>(hash[i] ^ hash_[i]);
  return difference == 0;
}

}  // namespace bitsmith
