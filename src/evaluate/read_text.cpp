#include <string_view>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "evaluate/evaluate.h"

namespace bitsmith {

std::vector<std::string> read_documents(const std::string& path) {
  const std::string content = read_text_file(path);
  if (!path.ends_with(".jsonl")) return {content};
  std::vector<std::string> documents;
  size_t line_number = 0;
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = std::min(content.find('\n', begin), content.size());
    const std::string_view line = std::string_view(content).substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string source = concat(path, ", line ", line_number);
    documents.push_back(json_get<std::string>(parse_json(line, source), "text", source));
  }
  return documents;
}

std::string read_text(const std::string& path) {
  std::string text;
  for (const std::string& document : read_documents(path)) {
    if (!text.empty()) text += "\n\n";
    text += document;
  }
  return text;
}

}  // namespace bitsmith
