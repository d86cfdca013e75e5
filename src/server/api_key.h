// The key that clients must give.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace bitsmith {

class ApiKey {
 public:
  // From the first line of the file, or else from the environment's BITSMITH_API_KEY; nothing where
  // there is neither. Throws Error for a file that cannot be read or whose first line is empty.
  static std::optional<ApiKey> find(const std::string& file);
  explicit ApiKey(std::string_view key);

  // `authorization`: the header's value, "Bearer KEY". Takes the same time for every wrong key.
  bool opens(std::string_view authorization) const;

 private:
  std::string hash_;
};

}  // namespace bitsmith
