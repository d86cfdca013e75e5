// Reads the fields of a resolved spec from config.json.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/json.h"

namespace bitsmith {

// fields[key], a whole number in [low, high]. Throws Error naming `source`, key and range.
int64_t spec_field(const Json& fields, const char* key, int64_t low, int64_t high,
                   const std::string& source);
// Throws Error for a key that is not listed: a later Bitsmith may have written what it means.
void check_spec_keys(const Json& fields, std::initializer_list<std::string_view> known,
                     const std::string& source);

}  // namespace bitsmith
