// nlohmann::json with errors that name the file and the key. Include <nlohmann/json.hpp> only via
// this.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/error.h"

namespace bitsmith {

using Json = nlohmann::json;                 // keys sorted
using OrderedJson = nlohmann::ordered_json;  // keys in the order written

// Parses untrusted text; throws Error "SOURCE: not valid JSON: ..." (also for nesting deeper than
// 100).
Json parse_json(std::string_view text, const std::string& source);
Json read_json_file(const std::filesystem::path& path);
void write_json_file(const std::filesystem::path& path, const OrderedJson& value);

// The beginning of a value's text for messages; bytes that are not UTF-8 are replaced.
std::string json_excerpt(const Json& value);

// value[key] as T; a missing key or another type throws Error naming source and key.
template <typename T>
T json_get(const Json& value, const std::string& key, const std::string& source) {
  if (!value.is_object() || !value.contains(key))
    throw Error(concat(source, ": '", key, "' is missing"));
  try {
    return value.at(key).get<T>();
  } catch (const nlohmann::json::exception&) {
    throw Error(
        concat(source, ": '", key, "' has an unexpected type: ", json_excerpt(value.at(key))));
  }
}
// The same with a default for a missing or null key.
template <typename T>
T json_get_or(const Json& value, const std::string& key, T fallback, const std::string& source) {
  if (!value.is_object() || !value.contains(key) || value.at(key).is_null()) return fallback;
  return json_get<T>(value, key, source);
}

}  // namespace bitsmith
