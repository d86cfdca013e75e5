#include "base/json.h"

#include "base/files.h"

namespace bitsmith {

namespace {

// The parser recurses nowhere, but copying, comparing and printing a very deep value does.
void check_depth(std::string_view text, const std::string& source) {
  constexpr int kMaxDepth = 100;
  int depth = 0;
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
      if (++depth > kMaxDepth)
        throw Error(concat(source, ": not valid JSON: nested more than ", kMaxDepth, " deep"));
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
}

template <typename Value>
Value parse(std::string_view text, const std::string& source) {
  check_depth(text, source);
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
