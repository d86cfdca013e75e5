// nlohmann::json with errors that name the file and the key. Include <nlohmann/json.hpp> only via
// this.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "base/error.h"

namespace bitsmith {

using Json = nlohmann::json;                 // keys sorted
using OrderedJson = nlohmann::ordered_json;  // keys in the order written

// Parses untrusted text; throws Error "SOURCE: not valid JSON: ..." (also for nesting deeper than
// 100, which would overflow the stack later). All JSON comes in through these.
Json parse_json(std::string_view text, const std::string& source);
OrderedJson parse_ordered_json(std::string_view text, const std::string& source);
// Of someone who may want to keep us busy: also throws for objects of more than 1000 keys, which
// are searched one by one.
OrderedJson parse_foreign_json(std::string_view text, const std::string& source);
Json read_json_file(const std::filesystem::path& path);
// Bytes of strings that are not UTF-8 become U+FFFD.
void write_json_file(const std::filesystem::path& path, const OrderedJson& value);

// The beginning of a value's text for messages: an excerpt().
std::string json_excerpt(const Json& value);

// Whether a number, or each of an array's, survives conversion to T; for integers 1e99 and 0.5 do
// not.
template <typename T>
bool json_fits(const Json& value) {
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    if (value.is_number_float()) {
      const double number = value.get<double>();
      return std::abs(number) <= 0x1p53 && number == std::floor(number) &&
             std::in_range<T>(static_cast<int64_t>(number));
    }
    if (value.is_number_unsigned()) return std::in_range<T>(value.get<uint64_t>());
    if (value.is_number_integer()) return std::in_range<T>(value.get<int64_t>());
  }
  if constexpr (requires { typename T::value_type; } && !std::is_same_v<T, std::string> &&
                !std::is_same_v<T, Json>) {
    if (value.is_array())
      return std::all_of(value.begin(), value.end(), json_fits<typename T::value_type>);
  }
  return true;
}

// value[key] as T; a missing key, another type, or a number that T does not hold throws Error
// naming source and key.
template <typename T>
T json_get(const Json& value, const std::string& key, const std::string& source) {
  if (!value.is_object() || !value.contains(key))
    throw Error(concat(source, ": '", excerpt(key), "' is missing"));
  try {
    if (json_fits<T>(value.at(key))) return value.at(key).get<T>();
  } catch (const nlohmann::json::exception&) {
  }
  throw Error(concat(source, ": '", excerpt(key),
                     "' has an unexpected type: ", json_excerpt(value.at(key))));
}
// The same with a default for a missing or null key.
template <typename T>
T json_get_or(const Json& value, const std::string& key, T fallback, const std::string& source) {
  if (!value.is_object() || !value.contains(key) || value.at(key).is_null()) return fallback;
  return json_get<T>(value, key, source);
}

}  // namespace bitsmith
