#include "base/json.h"

#include "base/files.h"

namespace bitsmith {

Json parse_json(std::string_view text, const std::string& source) {
  constexpr int kMaxDepth = 100;
  try {
    // A cheap scan first: the parser recurses nowhere, but destroying a very deep value does.
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
        if (++depth > kMaxDepth) throw Error(source + ": JSON is nested too deeply");
      } else if (c == '}' || c == ']') {
        --depth;
      }
    }
    return Json::parse(text);
  } catch (const nlohmann::json::exception& e) {
    throw Error(concat(source, ": not valid JSON: ", e.what()));
  }
}

Json read_json_file(const std::filesystem::path& path) {
  return parse_json(read_text_file(path), path.string());
}

std::string json_excerpt(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80);
}

void write_json_file(const std::filesystem::path& path, const OrderedJson& value) {
  write_file_atomic(path, value.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
}

}  // namespace bitsmith
