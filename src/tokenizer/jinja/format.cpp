#include "tokenizer/jinja/format.h"

#include <algorithm>
#include <cmath>

#include "tokenizer/jinja/lookup.h"
#include "tokenizer/jinja/print.h"
#include "tokenizer/utf8.h"

namespace bitsmith::jinja {
namespace {

// Reads a format from left to right.
class Scanner {
 public:
  Scanner(std::string_view text, size_t at) : text_(text), at_(at) {}
  bool at_end() const { return at_ >= text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  char next() {
    if (at_end()) throw Failure("incomplete format");
    return text_[at_++];
  }
  bool take(char c) { return peek() == c && !at_end() && (++at_, true); }
  // Digits; -1 where there are none.
  int64_t number() {
    int64_t value = -1;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      value = std::max<int64_t>(value, 0) * 10 + (peek() - '0');
      if (value > (int64_t{1} << 30)) throw Failure("a format has a number that is too large");
    }
    return value;
  }
  std::string until(char end) {
    const size_t close = text_.find(end, at_);
    if (close == text_.npos) throw Failure(concat("a format lacks its '", end, "'"));
    std::string part(text_.substr(at_, close - at_));
    at_ = close + 1;
    return part;
  }
  size_t at() const { return at_; }

 private:
  std::string_view text_;
  size_t at_;
};

class PercentFormatter {
 public:
  PercentFormatter(const Text& pattern, const Value& arguments, Budget& budget)
      : pattern_(pattern),
        budget_(budget),
        dict_(arguments.dict()),
        may_have_more_(dict_ || arguments.is_undefined() || arguments.is(Sequence::Kind::kList) ||
                       arguments.is(Sequence::Kind::kRange)) {
    if (arguments.is(Sequence::Kind::kTuple))
      values_ = arguments.sequence()->items;
    else
      values_ = {arguments};
  }

  Text run() {
    const std::string& bytes = pattern_.bytes();
    Text result;
    for (size_t at = 0; at < bytes.size();) {
      const size_t mark = std::min(bytes.find('%', at), bytes.size());
      result.append(pattern_.slice_bytes(at, mark));
      if (mark == bytes.size()) break;
      Scanner scanner(bytes, mark + 1);
      result.append(field(scanner));
      budget_.spend_bytes(result.bytes().size());
      at = scanner.at();
    }
    if (!may_have_more_ && used_ < values_.size())
      throw Failure("not all arguments converted during string formatting");
    return result;
  }

 private:
  Value next_value() {
    if (used_ >= values_.size()) throw Failure("not enough arguments for format string");
    return values_[used_++];
  }
  int64_t number_or_star(Scanner& scanner) {
    return scanner.take('*') ? integer_argument(next_value()) : scanner.number();
  }
  Text field(Scanner& scanner) {
    std::optional<Value> named;
    if (scanner.take('(')) {
      const std::string name = scanner.until(')');
      if (!dict_) throw Failure("format requires a mapping");
      const Value* value = dict_->find_text(name);
      if (!value) throw Failure(concat("the format's mapping has no '", excerpt(name), "'"));
      named = *value;
    }
    FieldStyle style;
    style.align = '>';
    for (;;) {
      if (scanner.take('-'))
        style.align = '<';
      else if (scanner.take('0'))
        style.fill = "0";
      else if (scanner.take('+'))
        style.sign = '+';
      else if (scanner.take(' '))
        style.sign = ' ';
      else if (scanner.take('#'))
        style.alternate = true;
      else
        break;
    }
    style.width = std::max<int64_t>(number_or_star(scanner), 0);
    if (scanner.take('.')) style.precision = std::max<int64_t>(number_or_star(scanner), 0);
    const char type = scanner.next();
    if (type == '%') {
      Text text;
      text.append("%");
      return text;
    }
    return converted(type, named ? *named : next_value(), style);
  }
  Text converted(char type, const Value& value, FieldStyle style) {
    static constexpr std::string_view kNumbers = "diuxXoeEfFgG";
    if (type == 's' || type == 'r') {
      style.fill = " ";
      Text text = type == 's' ? to_text(value, budget_) : to_repr(value, budget_);
      if (style.precision >= 0) text = text.slice(0, static_cast<size_t>(style.precision));
      return filled(text, style, budget_);
    }
    if (type == 'c' && value.text()) return filled(*value.text(), style, budget_);
    if (kNumbers.find(type) == kNumbers.npos)
      throw Failure(concat("unsupported format character '", excerpt(std::string(1, type)), "'"));
    const bool decimal = type == 'd' || type == 'i' || type == 'u';
    style.type = decimal ? 'd' : type;
    if (style.fill == "0" && style.align == '>') style.align = '=';
    if (style.align == '<') style.fill = " ";
    require_defined(value);
    if (!value.number())
      throw Failure(concat("%", type, " format: a number is required, not ", value.type_name()));
    const bool cut = decimal && value.is_float() && std::abs(*value.number()) < 9e18;
    const Value number = cut ? Value(static_cast<int64_t>(*value.number())) : value;
    return filled(Text(formatted_number(number, style)), style, budget_);
  }

  const Text& pattern_;
  Budget& budget_;
  const Dict* dict_;
  bool may_have_more_;  // Python asks only of tuples and of what has no items that all are used
  Values values_;
  size_t used_ = 0;
};

FieldStyle parse_style(std::string_view text) {
  FieldStyle style;
  static constexpr std::string_view kAligns = "<>^=";
  const size_t first = text.empty() ? 0 : character_size(text, 0);
  size_t begin = 0;
  if (first < text.size() && kAligns.find(text[first]) != kAligns.npos) {
    style.fill = text.substr(0, first);
    style.align = text[first];
    begin = first + 1;
  } else if (!text.empty() && kAligns.find(text[0]) != kAligns.npos) {
    style.align = text[0];
    begin = 1;
  }
  Scanner scanner(text, begin);
  if (scanner.take('+'))
    style.sign = '+';
  else if (scanner.take(' '))
    style.sign = ' ';
  else
    scanner.take('-');
  style.alternate = scanner.take('#');
  if (scanner.take('0') && style.align == 0) {
    style.fill = "0";
    style.align = '=';
  }
  style.width = std::max<int64_t>(scanner.number(), 0);
  if (scanner.take(','))
    style.grouping = ',';
  else if (scanner.take('_'))
    style.grouping = '_';
  if (scanner.take('.')) style.precision = scanner.number();
  if (!scanner.at_end()) style.type = scanner.next();
  static constexpr std::string_view kTypes = "sdxXobeEfFgG%";
  if (!scanner.at_end() || (style.type != 0 && kTypes.find(style.type) == kTypes.npos))
    throw Failure(concat("invalid format specifier '", excerpt(text, 40), "'"));
  return style;
}

class BraceFormatter {
 public:
  BraceFormatter(Interpreter& run, const Text& pattern, const Values& positional, const Dict& named)
      : run_(run), pattern_(pattern), positional_(positional), named_(named) {}

  Text run() {
    const std::string& bytes = pattern_.bytes();
    Text result;
    for (size_t at = 0; at < bytes.size();) {
      const size_t mark = std::min(bytes.find_first_of("{}", at), bytes.size());
      result.append(pattern_.slice_bytes(at, mark));
      if (mark == bytes.size()) break;
      if (mark + 1 < bytes.size() && bytes[mark + 1] == bytes[mark]) {
        result.append(pattern_.slice_bytes(mark, mark + 1));
        at = mark + 2;
        continue;
      }
      if (bytes[mark] == '}') throw Failure("Single '}' encountered in format string");
      Scanner scanner(bytes, mark + 1);
      result.append(field(scanner.until('}')));
      run_.budget().spend_bytes(result.bytes().size());
      at = scanner.at();
    }
    return result;
  }

 private:
  Text field(const std::string& text) {
    if (text.find('{') != text.npos) throw Failure("a format inside a format is not supported");
    const size_t colon = std::min(text.find(':'), text.size());
    const FieldStyle style =
        parse_style(std::string_view(text).substr(std::min(colon + 1, text.size())));
    std::string_view name = std::string_view(text).substr(0, colon);
    const size_t bang = std::min(name.find('!'), name.size());
    const bool has_style = colon + 1 < text.size();
    const std::string_view conversion = name.substr(bang);
    const Value value = value_of(name.substr(0, bang));
    if (conversion == "!r") return filled_text(to_repr(value, run_.budget()), style);
    if (!conversion.empty() && conversion != "!s") throw Failure("unknown conversion in a format");
    if (!has_style || conversion == "!s" || value.text())
      return filled_text(to_text(value, run_.budget()), style);
    if (!value.number())
      throw Failure(concat("unsupported format string passed to ", value.type_name()));
    return number(value, style);
  }
  Text number(const Value& value, FieldStyle style) {
    if (style.align == 0) style.align = '>';
    return filled(Text(formatted_number(value, style)), style, run_.budget());
  }
  Text filled_text(Text text, FieldStyle style) {
    if (style.type != 0 && style.type != 's')
      throw Failure(concat("unknown format code '", style.type, "' for a string"));
    if (style.precision >= 0) text = text.slice(0, static_cast<size_t>(style.precision));
    if (style.align == 0 || style.align == '=') style.align = '<';
    return filled(text, style, run_.budget());
  }
  // 0, name, name.part, name[part], or nothing for the next value.
  Value value_of(std::string_view path) {
    const size_t end = std::min(path.find_first_of(".["), path.size());
    Value value = first_value(path.substr(0, end));
    for (path.remove_prefix(end); !path.empty();) {
      const bool item = path[0] == '[';
      path.remove_prefix(1);
      const size_t stop = std::min(path.find_first_of(item ? "]" : ".["), path.size());
      const std::string_view part = path.substr(0, stop);
      path.remove_prefix(std::min(stop + (item ? 1 : 0), path.size()));
      value = item ? item_of(run_, value, key_of(part)) : attribute_of(run_, value, part);
    }
    return value;
  }
  static bool is_index(std::string_view text) {
    return !text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == text.npos;
  }
  static Value key_of(std::string_view part) {
    return is_index(part) ? Value(std::stoi(std::string(part))) : Value(part);
  }
  Value first_value(std::string_view name) {
    if (!name.empty() && !is_index(name)) {
      const Value* value = named_.find_text(name);
      if (!value) throw Failure(concat("the format has no argument '", excerpt(name), "'"));
      return *value;
    }
    const size_t index = name.empty() ? next_++ : static_cast<size_t>(std::stoi(std::string(name)));
    if (index >= positional_.size())
      throw Failure(concat("Replacement index ", index, " out of range for positional args tuple"));
    return positional_[index];
  }

  Interpreter& run_;
  const Text& pattern_;
  const Values& positional_;
  const Dict& named_;
  size_t next_ = 0;
};

}  // namespace

Text percent_format(const Text& pattern, const Value& arguments, Budget& budget) {
  return PercentFormatter(pattern, arguments, budget).run();
}

Text brace_format(Interpreter& run, const Text& pattern, const Values& positional,
                  const Dict& named) {
  return BraceFormatter(run, pattern, positional, named).run();
}

}  // namespace bitsmith::jinja
