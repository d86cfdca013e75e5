// Whole numbers out of untrusted JSON: 1e99 is a number too, but no integer holds it.
#pragma once
#include <cstdint>
#include <string>

#include "base/json.h"

namespace bitsmith {

// Throws Error naming `source` and `what` unless `value` is an integer. One beyond int64_t becomes
// negative, which no caller accepts.
inline int64_t json_integer(const Json& value, const std::string& what, const std::string& source) {
  if (!value.is_number_integer())
    throw Error(concat(source, ": '", excerpt(what), "' is not an integer"));
  return value.get<int64_t>();
}

}  // namespace bitsmith
