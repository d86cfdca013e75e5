#include "tokenizer/jinja/lexer.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "base/error.h"
#include "tokenizer/jinja/string_literal.h"
#include "tokenizer/jinja/text.h"

namespace bitsmith::jinja {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_character(char c) {
  return is_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
// 7, 1_000; for `base` 16 also letters.
bool is_digit_of(char c, int base) {
  if (base == 16) return is_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'f');
  return c >= '0' && c < '0' + base;
}

std::string with_line_feeds(std::string_view source) {
  std::string out;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r')
      out += source[i];
    else if (i + 1 == source.size() || source[i + 1] != '\n')
      out += '\n';
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) {
      const size_t open = find_tag(at_);
      if (open == source_.npos) {
        push_data(at_, source_.size());
        at_ = source_.size();
        break;
      }
      read_tag(open);
    }
    push(Token::Kind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { throw SyntaxError{line_, message}; }
  bool starts(std::string_view text) const { return source_.compare(at_, text.size(), text) == 0; }
  void move_to(size_t at) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
    at_ = at;
  }
  void push(Token::Kind kind, std::string text) {
    tokens_.push_back({.kind = kind, .text = std::move(text), .line = line_});
  }
  void push_data(size_t begin, size_t end) {
    if (begin < end) push(Token::Kind::kData, source_.substr(begin, end - begin));
  }
  size_t find_tag(size_t from) const {
    for (size_t i = from; i + 1 < source_.size(); ++i)
      if (source_[i] == '{' &&
          std::string_view("{%#").find(source_[i + 1]) != std::string_view::npos)
        return i;
    return source_.npos;
  }
  size_t after_space(size_t at) const {
    return at + space_at_start(std::string_view(source_).substr(at));
  }
  // The text before a tag without the white space that the tag takes.
  size_t end_of_text(size_t begin, size_t tag, char sign, bool is_variable) const {
    const auto text = std::string_view(source_).substr(begin, tag - begin);
    if (sign == '-') return tag - space_at_end(text);
    if (sign == '+' || is_variable) return tag;
    const size_t newline = text.rfind('\n');
    const size_t line = newline == text.npos ? 0 : newline + 1;
    if (line == 0 && !at_line_start_) return tag;
    return space_at_start(text.substr(line)) == text.size() - line ? begin + line : tag;
  }

  void read_tag(size_t open) {
    const char kind = source_[open + 1];
    const char next = open + 2 < source_.size() ? source_[open + 2] : ' ';
    const char sign = next == '-' || next == '+' ? next : ' ';
    push_data(at_, end_of_text(at_, open, sign, kind == '{'));
    move_to(open);
    const size_t inside = open + (sign == ' ' ? 2 : 3);
    if (kind == '#') return skip_comment(inside);
    if (kind == '%') {
      if (const auto begin = end_of_word_tag(inside, "raw", /*trims=*/false))
        return read_raw(*begin);
    }
    move_to(inside);
    const bool is_block = kind == '%';
    push(is_block ? Token::Kind::kBlockBegin : Token::Kind::kVariableBegin, "");
    read_inside(is_block);
  }

  // Takes the end of a tag at at_: an optional sign, two characters, and the white space behind
  // that goes with it.
  bool take_end(char mark, bool is_variable) {
    size_t at = at_;
    const bool minus = source_[at] == '-', plus = source_[at] == '+' && !is_variable;
    if (minus || plus) ++at;
    if (at + 1 >= source_.size() || source_[at] != mark || source_[at + 1] != '}') return false;
    at += 2;
    if (minus)
      at = after_space(at);
    else if (!plus && !is_variable && at < source_.size() && source_[at] == '\n')
      ++at;
    at_line_start_ = source_[at - 1] == '\n';
    move_to(at);
    return true;
  }

  void skip_comment(size_t inside) {
    const int line = line_;
    const size_t close = source_.find("#}", inside);
    if (close == source_.npos) throw SyntaxError{line, "a comment does not end"};
    const bool sign = close > inside && (source_[close - 1] == '-' || source_[close - 1] == '+');
    move_to(close - (sign ? 1 : 0));
    take_end('#', false);
  }

  // Where the tag whose inside begins here ends, if it is just `word`. The end takes a following
  // newline along where it `trims`.
  std::optional<size_t> end_of_word_tag(size_t inside, std::string_view word, bool trims) const {
    size_t at = after_space(inside);
    if (source_.compare(at, word.size(), word) != 0) return std::nullopt;
    at = after_space(at + word.size());
    const char sign = at < source_.size() ? source_[at] : ' ';
    if (sign == '-' || (sign == '+' && trims)) ++at;
    if (source_.compare(at, 2, "%}") != 0) return std::nullopt;
    at += 2;
    if (sign == '-') return after_space(at);
    return trims && sign != '+' && source_.compare(at, 1, "\n") == 0 ? at + 1 : at;
  }

  void read_raw(size_t begin) {
    const int line = line_;
    at_line_start_ = source_[begin - 1] == '\n';
    move_to(begin);
    for (size_t open = source_.find("{%", begin); open != source_.npos;
         open = source_.find("{%", open + 2)) {
      const char next = open + 2 < source_.size() ? source_[open + 2] : ' ';
      const char sign = next == '-' || next == '+' ? next : ' ';
      const auto end = end_of_word_tag(open + (sign == ' ' ? 2 : 3), "endraw", /*trims=*/true);
      if (!end) continue;
      push_data(begin, end_of_text(begin, open, sign, false));
      at_line_start_ = source_[*end - 1] == '\n';
      return move_to(*end);
    }
    throw SyntaxError{line, "{% raw %} has no {% endraw %}"};
  }

  void read_inside(bool is_block) {
    const int line = line_;
    std::string open_brackets;  // those that must close them
    for (;;) {
      move_to(after_space(at_));
      if (at_ >= source_.size()) throw SyntaxError{line, "a tag does not end"};
      if (open_brackets.empty()) {
        const int end_line = line_;
        if (take_end(is_block ? '%' : '}', !is_block)) {
          push(is_block ? Token::Kind::kBlockEnd : Token::Kind::kVariableEnd, "");
          tokens_.back().line = end_line;
          return;
        }
      }
      const char c = source_[at_];
      if (is_digit(c))
        read_number();
      else if (c == '\'' || c == '"')
        read_string(c);
      else if (is_name_character(c))
        read_name();
      else
        read_operator(open_brackets);
    }
  }

  void read_name() {
    size_t end = at_;
    while (end < source_.size() && is_name_character(source_[end])) ++end;
    push(Token::Kind::kName, source_.substr(at_, end - at_));
    move_to(end);
  }

  void read_string(char quote) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail("a string does not end");
    const auto text = unescaped(std::string_view(source_).substr(at_ + 1, end - at_ - 1));
    if (!text) fail("a string has a malformed escape");
    push(Token::Kind::kString, *text);
    move_to(end + 1);
  }

  // Digits with single underscores between them.
  size_t end_of_digits(size_t at, int base) const {
    size_t end = at;
    while (end < source_.size() && (is_digit_of(source_[end], base) ||
                                    (source_[end] == '_' && end > at && end + 1 < source_.size() &&
                                     is_digit_of(source_[end + 1], base))))
      ++end;
    return end;
  }
  std::string digits(size_t begin, size_t end) const {
    std::string text = source_.substr(begin, end - begin);
    std::erase(text, '_');
    return text;
  }

  void read_number() {
    const char prefix = at_ + 1 < source_.size() ? static_cast<char>(source_[at_ + 1] | 32) : ' ';
    const int base = prefix == 'x' ? 16 : prefix == 'o' ? 8 : prefix == 'b' ? 2 : 10;
    if (source_[at_] == '0' && base != 10 && end_of_digits(at_ + 2, base) > at_ + 2)
      return push_integer(at_ + 2, end_of_digits(at_ + 2, base), base);
    const size_t whole = end_of_digits(at_, 10);
    size_t end = whole;
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';  // a.0.1 has no float
    if (!after_dot && end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1]))
      end = end_of_digits(end + 1, 10);
    if (!after_dot && end < source_.size() && (source_[end] | 32) == 'e') {
      size_t power = end + 1;
      if (power < source_.size() && (source_[power] == '+' || source_[power] == '-')) ++power;
      if (const size_t last = end_of_digits(power, 10); last > power) end = last;
    }
    if (end == whole) {
      const bool zeros = source_[at_] == '0';
      size_t last = zeros ? source_.find_first_not_of("0_", at_) : whole;
      return push_integer(at_, std::min(last, whole), 10);
    }
    push(Token::Kind::kFloat, digits(at_, end));
    tokens_.back().number = std::strtod(tokens_.back().text.c_str(), nullptr);
    move_to(end);
  }

  void push_integer(size_t begin, size_t end, int base) {
    push(Token::Kind::kInteger, digits(begin, end));
    const std::string& text = tokens_.back().text;
    const auto read =
        std::from_chars(text.data(), text.data() + text.size(), tokens_.back().integer, base);
    if (read.ec != std::errc()) fail(concat("the number ", excerpt(text), " is beyond 64 bits"));
    move_to(end);
  }

  void read_operator(std::string& open_brackets) {
    static constexpr std::string_view kOperators[] = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    const auto found = std::ranges::find_if(kOperators, [&](auto text) { return starts(text); });
    if (found == std::end(kOperators))
      fail(concat("unexpected character '",
                  excerpt(source_.substr(at_, character_size(source_, at_))), "'"));
    const char c = (*found)[0];
    if (c == '(' || c == '[' || c == '{') {
      open_brackets += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (open_brackets.empty()) fail(concat("unexpected '", c, "'"));
      if (open_brackets.back() != c)
        fail(concat("unexpected '", c, "', expected '", open_brackets.back(), "'"));
      open_brackets.pop_back();
    }
    push(Token::Kind::kOperator, std::string(*found));
    move_to(at_ + found->size());
  }

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool at_line_start_ = true;  // of the text that comes
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  return Lexer(with_line_feeds(source)).run();
}

}  // namespace bitsmith::jinja
