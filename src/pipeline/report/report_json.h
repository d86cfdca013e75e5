// Values of bitsmith.json and of `eval --json`, checked: a page with them can always be drawn.
#pragma once
#include <cmath>
#include <filesystem>
#include <optional>
#include <string>

#include "base/json.h"
#include "pipeline/report/report_data.h"

namespace bitsmith {

// Finite and below 1e18 in magnitude; zero where it is nearer to it than 1e-30.
inline double reported_number(const Json& json, const std::string& key, const std::string& source) {
  const double value = json_get<double>(json, key, source);
  if (std::abs(value) < 1e-30) return 0;
  if (std::abs(value) < 1e18) return value;
  throw Error(concat(source, ": '", excerpt(key), "' is ", value, ", which cannot be drawn"));
}
inline std::optional<double> reported_number_or_none(const Json& json, const std::string& key,
                                                     const std::string& source) {
  if (!json.is_object() || !json.contains(key) || json.at(key).is_null()) return std::nullopt;
  return reported_number(json, key, source);
}
// With the standard error KEY_error, where there is one.
inline ReportedValue reported_value(const Json& json, const std::string& key,
                                    const std::string& source) {
  return {reported_number(json, key, source),
          reported_number_or_none(json, key + "_error", source)};
}
inline std::optional<ReportedValue> reported_value_or_none(const Json& json, const std::string& key,
                                                           const std::string& source) {
  if (!reported_number_or_none(json, key, source)) return std::nullopt;
  return reported_value(json, key, source);
}
// An object; an empty one where the key is missing.
inline Json reported_object(const Json& json, const std::string& key, const std::string& source) {
  const auto found = json_get_or<Json>(json, key, Json::object(), source);
  if (found.is_object()) return found;
  throw Error(concat(source, ": '", excerpt(key), "' is not an object: ", json_excerpt(found)));
}
// "out" of "/a/out", "/a/out/" and "./out".
inline std::string last_name(const std::filesystem::path& path) {
  std::filesystem::path plain = path.lexically_normal();
  if (!plain.has_filename()) plain = plain.parent_path();
  return plain.filename().string();
}
// The elements of a list; none where the key is missing.
inline std::vector<Json> reported_list(const Json& json, const std::string& key,
                                       const std::string& source) {
  return json_get_or<std::vector<Json>>(json, key, {}, source);
}

// `judged` says how (text, context, bos, engine, dtype), `figures` what was found (windows,
// perplexity, kl, ...); windows may be in either.
ReportedText reported_text(const Json& judged, const Json& figures, const std::string& source);

}  // namespace bitsmith
