#include "base/options.h"

#include <algorithm>

namespace bitsmith {
namespace {

bool is_harmless(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("-_./=:,+%@").find(c) != std::string_view::npos;
}

std::string quoted(const std::string& word) {
  if (!word.empty() && std::ranges::all_of(word, is_harmless)) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + "'";
}

}  // namespace

std::string option_name(const Option& option) {
  std::string name = option.name ? option.name : option.key;
  std::ranges::replace(name, '_', '-');
  return name;
}

void CommandWords::add(const std::string& name, const OrderedJson& value,
                       std::vector<std::string>& words) {
  if (value.is_array()) {
    for (const OrderedJson& entry : value) add(name, entry, words);
  } else if (value.is_boolean()) {
    words.push_back((value.get<bool>() ? "--" : "--no-") + name);
  } else {
    words.push_back("--" + name);
    words.push_back(value.is_string() ? value.get<std::string>() : value.dump());
  }
}

std::string shell_line(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + quoted(word);
  return line;
}

}  // namespace bitsmith
