#include "base/json.h"

#include <cstdint>
#include <vector>

#include "base/files.h"

namespace bitsmith {

namespace {

// The parser recurses nowhere, but copying, comparing and printing a very deep value does.
void check_shape(std::string_view text, const std::string& source, size_t most_keys) {
  constexpr size_t kMaxDepth = 100;
  std::vector<size_t> keys = {0};  // of each object that is open
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      keys.push_back(0);
      if (keys.size() > kMaxDepth + 1)
        throw Error(concat(source, ": not valid JSON: nested more than ", kMaxDepth, " deep"));
    } else if (c == '}' || c == ']') {
      if (keys.size() > 1) keys.pop_back();
    } else if (c == ':' && ++keys.back() > most_keys) {
      throw Error(concat(source, ": an object has more than ", most_keys, " keys"));
    }
  }
}

template <typename Value>
Value parse(std::string_view text, const std::string& source, size_t most_keys = SIZE_MAX) {
  check_shape(text, source, most_keys);
  try {
    return Value::parse(text);
  } catch (const nlohmann::json::exception& e) {
    throw Error(concat(source, ": not valid JSON: ", excerpt(e.what(), 200)));
  }
}

}  // namespace

Json parse_json(std::string_view text, const std::string& source) {
  return parse<Json>(text, source);
}

OrderedJson parse_ordered_json(std::string_view text, const std::string& source) {
  return parse<OrderedJson>(text, source);
}

OrderedJson parse_foreign_json(std::string_view text, const std::string& source) {
  return parse<OrderedJson>(text, source, 1000);
}

Json read_json_file(const std::filesystem::path& path) {
  return parse_json(read_text_file(path), path.string());
}

std::string json_excerpt(const Json& value) {
  return excerpt(value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void write_json_file(const std::filesystem::path& path, const OrderedJson& value) {
  write_file_atomic(path, value.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
}

}  // namespace bitsmith
