#include "tokenizer/jinja_outline.h"

#include <algorithm>
#include <string_view>
#include <vector>

namespace bitsmith {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_name(char c) {
  return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_';
}

std::string quoted_word(const std::string& text) { return kOutlineQuote + text + kOutlineQuote; }

// The inside of a tag as its words, strings quoted. nullopt: a string does not end.
std::optional<std::vector<std::string>> words_of(std::string_view tag) {
  std::vector<std::string> words;
  for (size_t i = 0; i < tag.size();) {
    const char c = tag[i];
    if (is_space(c)) {
      ++i;
    } else if (c == '\'' || c == '"') {
      std::string text;
      for (++i; i < tag.size() && tag[i] != c; ++i) {
        if (tag[i] == '\\' && i + 1 < tag.size()) {
          const char escaped = tag[++i];
          text += escaped == 'n' ? '\n' : escaped == 't' ? '\t' : escaped == 'r' ? '\r' : escaped;
        } else {
          text += tag[i];
        }
      }
      if (i++ >= tag.size()) return std::nullopt;
      words.push_back(quoted_word(text));
    } else if (is_name(c)) {
      const size_t begin = i;
      while (i < tag.size() && is_name(tag[i])) ++i;
      words.emplace_back(tag.substr(begin, i - begin));
    } else {
      const bool two = i + 1 < tag.size() && tag[i + 1] == '=' && (c == '=' || c == '!');
      words.emplace_back(tag.substr(i, two ? 2 : 1));
      i += two ? 2 : 1;
    }
  }
  return words;
}

// Joins words, with x['y'] as x.y and without spaces around dots and inside brackets.
std::string join_words(const std::vector<std::string>& words) {
  std::string out;
  bool glue = true;
  for (size_t i = 0; i < words.size(); ++i) {
    const bool key = words[i] == "[" && i + 2 < words.size() && words[i + 2] == "]" &&
                     words[i + 1].size() > 2 && words[i + 1][0] == kOutlineQuote;
    if (key) {
      out += '.' + words[i + 1].substr(1, words[i + 1].size() - 2);
      i += 2;
      glue = false;
      continue;
    }
    const bool tight = words[i] == "." || words[i] == "[" || words[i] == "]" || words[i] == ")";
    if (!glue && !tight) out += ' ';
    out += words[i];
    glue = words[i] == "." || words[i] == "[" || words[i] == "(";
  }
  return out;
}

class Outline {
 public:
  void output(const std::string& expression) {
    if (expression.empty()) return;
    if (!outputs_.empty()) outputs_ += " + ";
    outputs_ += expression;
  }
  void statement(const std::string& text) {
    flush();
    out_ += "{%" + text + "%}";
  }
  std::string finish() {
    flush();
    return out_;
  }

 private:
  void flush() {
    const std::string seam = {kOutlineQuote, ' ', '+', ' ', kOutlineQuote};
    for (size_t i = outputs_.find(seam); i != outputs_.npos; i = outputs_.find(seam, i))
      outputs_.erase(i, seam.size());
    if (!outputs_.empty()) out_ += "{{" + outputs_ + "}}";
    outputs_.clear();
  }
  std::string out_, outputs_;
};

// Where the tag that opens at `begin` has its closing mark; strings may hold braces.
size_t find_close(std::string_view source, size_t begin, char mark) {
  char quote = 0;
  for (size_t i = begin; i + 1 < source.size(); ++i) {
    const char c = source[i];
    if (quote != 0) {
      if (c == '\\')
        ++i;
      else if (c == quote)
        quote = 0;
    } else if (mark != '#' && (c == '\'' || c == '"')) {
      quote = c;
    } else if (c == mark && source[i + 1] == '}') {
      return i;
    }
  }
  return source.npos;
}

}  // namespace

std::optional<std::string> jinja_outline(const std::string& source) {
  const bool control = std::any_of(source.begin(), source.end(), [](char c) {
    return static_cast<unsigned char>(c) < ' ' && !is_space(c);
  });
  if (control) return std::nullopt;
  std::string_view rest = source;
  if (rest.ends_with('\n')) rest.remove_suffix(1);  // Jinja drops the last one
  Outline outline;
  bool trim_left = false, trim_newline = false;  // what the tag before asks for
  while (true) {
    size_t open = 0;
    while (open < rest.size() &&
           !(rest[open] == '{' && open + 1 < rest.size() &&
             std::string_view("%{#").find(rest[open + 1]) != std::string_view::npos))
      ++open;
    const bool has_tag = open < rest.size();
    const char kind = has_tag ? rest[open + 1] : 0;
    std::string_view text = rest.substr(0, open);
    if (trim_left)
      while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    else if (trim_newline && text.starts_with('\n'))
      text.remove_prefix(1);
    const bool trim_right = has_tag && open + 2 < rest.size() && rest[open + 2] == '-';
    if (trim_right) {
      while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    } else if (kind == '%' || kind == '#') {  // lstrip_blocks
      const size_t last = text.find_last_not_of(" \t");
      const bool line_start =
          last == text.npos ? (open == text.size() || trim_newline) : text[last] == '\n';
      if (line_start) text = text.substr(0, last == text.npos ? 0 : last + 1);
    }
    if (!text.empty()) outline.output(quoted_word(std::string(text)));
    if (!has_tag) return outline.finish();

    const char mark = kind == '{' ? '}' : kind;
    const size_t begin = open + 2 + (trim_right ? 1 : 0);
    const size_t close = find_close(rest, begin, mark);
    if (close == rest.npos) return std::nullopt;
    std::string_view tag = rest.substr(begin, close - begin);
    trim_left = tag.ends_with('-');
    trim_newline = kind != '{';
    if (trim_left) tag.remove_suffix(1);
    rest.remove_prefix(close + 2);
    if (kind == '#') continue;
    const auto words = words_of(tag);
    if (!words) return std::nullopt;
    if (kind == '{')
      outline.output(join_words(*words));
    else
      outline.statement(join_words(*words));
  }
}

}  // namespace bitsmith
