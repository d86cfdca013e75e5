#include "format/spec_fields.h"

#include <algorithm>

namespace bitsmith {

int64_t spec_field(const Json& fields, const char* key, int64_t low, int64_t high,
                   const std::string& source) {
  const auto value = json_get<int64_t>(fields, key, source);
  if (value < low || value > high) {
    throw Error(concat(source, ": ", key, " is ", value, "; Bitsmith reads ", low, " to ", high));
  }
  return value;
}

void check_spec_keys(const Json& fields, std::initializer_list<std::string_view> known,
                     const std::string& source) {
  for (const auto& [key, value] : fields.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      throw Error(concat(source, ": '", excerpt(key),
                         "' is not known; a newer Bitsmith may have written it"));
    }
  }
}

}  // namespace bitsmith
