// Methods of strings: those that search and cut, and those that change the shape. Looking at the
// string has been paid for by call_method().
#include <algorithm>

#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/format.h"
#include "tokenizer/jinja/strings.h"

namespace bitsmith::jinja {
namespace {

std::optional<Text> optional_text(const Value& value) {
  if (value.is_none()) return std::nullopt;
  return text_argument(value);
}

Value list_of(Interpreter& run, std::vector<Text> texts) {
  run.budget().spend(texts.size());
  Values values;
  for (Text& text : texts) values.emplace_back(std::move(text));
  return Value::list(std::move(values));
}

// A method's string, and the part of it between the characters `start` and `end`.
struct Window {
  explicit Window(const Values& a) : text(text_argument(a[0])) {
    const auto length = static_cast<int64_t>(text.length());
    const auto bound = [&](const Value& value, int64_t fallback) {
      if (value.is_none()) return fallback;
      const int64_t index = integer_argument(value);
      return index < 0 ? std::max<int64_t>(index + length, 0) : index;
    };
    const int64_t first = bound(a[2], 0), last = std::min(bound(a[3], length), length);
    inside = first <= last;
    if (!inside) return;
    begin = text.byte_of(static_cast<size_t>(first));
    end = text.byte_of(static_cast<size_t>(last));
  }
  std::string_view part() const {
    return std::string_view(text.bytes()).substr(begin, end - begin);
  }
  const Text& text;
  bool inside;
  size_t begin = 0, end = 0;
};

// One of several where the argument is a tuple.
bool any_of_texts(const Value& texts, const Window& window,
                  bool (*meets)(std::string_view, std::string_view)) {
  if (!window.inside) return false;
  if (!texts.is(Sequence::Kind::kTuple)) return meets(window.part(), text_argument(texts).bytes());
  return std::ranges::any_of(texts.sequence()->items, [&](const Value& text) {
    return meets(window.part(), text_argument(text).bytes());
  });
}

Value starts_with(Interpreter&, Values& a) {
  return any_of_texts(a[1], Window(a), [](std::string_view text, std::string_view start) {
    return text.starts_with(start);
  });
}
Value ends_with(Interpreter&, Values& a) {
  return any_of_texts(a[1], Window(a), [](std::string_view text, std::string_view end) {
    return text.ends_with(end);
  });
}

// The character at which it is found, -1 for none.
int64_t place_of(const Values& a, bool from_right) {
  const Window window(a);
  if (!window.inside) return -1;
  const std::string& wanted = text_argument(a[1]).bytes();
  const size_t at = from_right ? window.part().rfind(wanted) : window.part().find(wanted);
  if (at == std::string_view::npos) return -1;
  return static_cast<int64_t>(window.text.slice_bytes(0, window.begin + at).length());
}
Value find(Interpreter&, Values& a) { return place_of(a, false); }
Value find_from_right(Interpreter&, Values& a) { return place_of(a, true); }
Value index_where(int64_t place) {
  if (place < 0) throw Failure("substring not found");
  return place;
}
Value index(Interpreter&, Values& a) { return index_where(place_of(a, false)); }
Value index_from_right(Interpreter&, Values& a) { return index_where(place_of(a, true)); }

Value count(Interpreter&, Values& a) {
  const Window window(a);
  const std::string& wanted = text_argument(a[1]).bytes();
  if (!window.inside) return 0;
  if (wanted.empty()) return window.text.slice_bytes(window.begin, window.end).length() + 1;
  int64_t found = 0;
  for (size_t at = window.part().find(wanted); at != std::string_view::npos;
       at = window.part().find(wanted, at + wanted.size()))
    ++found;
  return found;
}

Value split_method(Interpreter& run, Values& a) {
  return list_of(run, split(text_argument(a[0]), optional_text(a[1]), integer_argument(a[2])));
}
Value split_from_right_method(Interpreter& run, Values& a) {
  return list_of(
      run, split_from_right(text_argument(a[0]), optional_text(a[1]), integer_argument(a[2])));
}
Value split_lines_method(Interpreter& run, Values& a) {
  return list_of(run, split_lines(text_argument(a[0]), a[1].truth()));
}

// Before, the separator, after.
Value partition(Interpreter&, Values& a) {
  const Text& text = text_argument(a[0]);
  const Text& separator = text_argument(a[1]);
  if (separator.empty()) throw Failure("empty separator");
  const size_t at = text.bytes().find(separator.bytes());
  if (at == std::string::npos) return Value::tuple({text, "", ""});
  const size_t end = at + separator.bytes().size();
  return Value::tuple(
      {text.slice_bytes(0, at), separator, text.slice_bytes(end, text.bytes().size())});
}
Value partition_from_right(Interpreter&, Values& a) {
  const Text& text = text_argument(a[0]);
  const Text& separator = text_argument(a[1]);
  if (separator.empty()) throw Failure("empty separator");
  const size_t at = text.bytes().rfind(separator.bytes());
  if (at == std::string::npos) return Value::tuple({"", "", text});
  const size_t end = at + separator.bytes().size();
  return Value::tuple(
      {text.slice_bytes(0, at), separator, text.slice_bytes(end, text.bytes().size())});
}

Value replace_method(Interpreter& run, Values& a) {
  return replace(text_argument(a[0]), text_argument(a[1]), text_argument(a[2]),
                 integer_argument(a[3]), run.budget());
}

Value remove_prefix(Interpreter&, Values& a) {
  const Text& text = text_argument(a[0]);
  const std::string& prefix = text_argument(a[1]).bytes();
  const size_t begin = text.bytes().starts_with(prefix) ? prefix.size() : 0;
  return text.slice_bytes(begin, text.bytes().size());
}
Value remove_suffix(Interpreter&, Values& a) {
  const Text& text = text_argument(a[0]);
  const std::string& suffix = text_argument(a[1]).bytes();
  const size_t cut = text.bytes().ends_with(suffix) ? suffix.size() : 0;
  return text.slice_bytes(0, text.bytes().size() - cut);
}

Value join_method(Interpreter& run, Values& a) {
  std::vector<Text> parts;
  for (const Value& item : items_of(a[1], run.budget())) {
    if (!item.text())
      throw Failure(concat("sequence item ", parts.size(), ": expected str instance, ",
                           item.type_name(), " found"));
    parts.push_back(*item.text());
  }
  return join(text_argument(a[0]), parts, run.budget());
}

Value format_method(Interpreter& run, Values& a) {
  return brace_format(run, text_argument(a[0]), a[1].sequence()->items, *a[2].dict());
}

template <Ends ends>
Value strip_method(Interpreter&, Values& a) {
  return strip(text_argument(a[0]), optional_text(a[1]), ends);
}

template <Text (*change)(const Text&)>
Value changed(Interpreter& run, Values& a) {
  run.budget().spend(text_argument(a[0]).bytes().size());
  return change(text_argument(a[0]));
}

template <char align>
Value padded(Interpreter& run, Values& a) {
  FieldStyle style;
  style.align = align;
  style.width = std::max<int64_t>(integer_argument(a[1]), 0);
  style.fill = text_argument(a[2]).bytes();
  if (text_argument(a[2]).length() != 1) throw Failure("the fill must be one character");
  const Text& text = text_argument(a[0]);
  // str.center() puts the odd space where both lengths are odd to the left.
  const int64_t missing = style.width - static_cast<int64_t>(text.length());
  if (align == '^' && missing > 0 && missing % 2 == 1 && style.width % 2 == 1) {
    style.align = '>';
    style.width -= missing / 2;
    const Text left = filled(text, style, run.budget());
    style.align = '<';
    style.width += missing / 2;
    return filled(left, style, run.budget());
  }
  return filled(text, style, run.budget());
}

Value zeros(Interpreter& run, Values& a) {
  FieldStyle style;
  style.align = '=';
  style.fill = "0";
  style.width = std::max<int64_t>(integer_argument(a[1]), 0);
  return filled(text_argument(a[0]), style, run.budget());
}

Value expand_tabs(Interpreter& run, Values& a) {
  const Text& text = text_argument(a[0]);
  const int64_t size = integer_argument(a[1]);
  Text result;
  int64_t column = 0;
  for_each_character(text, [&](const Text& character) {
    run.budget().spend(1);
    const std::string& c = character.bytes();
    if (c == "\t") {
      const int64_t spaces = size > 0 ? size - column % size : 0;
      run.budget().spend_bytes(static_cast<size_t>(spaces));
      result.append(character.with_bytes(std::string(static_cast<size_t>(spaces), ' ')));
      column += spaces;
    } else {
      result.append(character);
      column = c == "\n" || c == "\r" ? 0 : column + 1;
    }
  });
  return result;
}

}  // namespace

BuiltinTable search_methods() {
  const Value none, all = -1;
  const auto with_window = [&](const char* name) {
    return std::vector<Builtin::Parameter>{{"self"}, {name}, {"start", none}, {"end", none}};
  };
  const std::vector<Builtin::Parameter> splitting = {{"self"}, {"sep", none}, {"maxsplit", all}};
  return {
      {"startswith", {with_window("prefix"), starts_with}},
      {"endswith", {with_window("suffix"), ends_with}},
      {"find", {with_window("sub"), find}},
      {"rfind", {with_window("sub"), find_from_right}},
      {"index", {with_window("sub"), index}},
      {"rindex", {with_window("sub"), index_from_right}},
      {"count", {with_window("sub"), count}},
      {"split", {splitting, split_method}},
      {"rsplit", {splitting, split_from_right_method}},
      {"splitlines", {{{"self"}, {"keepends", Value(false)}}, split_lines_method}},
      {"partition", {{{"self"}, {"sep"}}, partition}},
      {"rpartition", {{{"self"}, {"sep"}}, partition_from_right}},
      {"replace", {{{"self"}, {"old"}, {"new"}, {"count", all}}, replace_method}},
      {"removeprefix", {{{"self"}, {"prefix"}}, remove_prefix}},
      {"removesuffix", {{{"self"}, {"suffix"}}, remove_suffix}},
      {"join", {{{"self"}, {"iterable"}}, join_method}},
      {"format", {{{"self"}, {"*"}, {"**"}}, format_method}},
  };
}

BuiltinTable shape_methods() {
  const std::vector<Builtin::Parameter> stripping = {{"self"}, {"chars", Value()}},
                                        padding = {{"self"}, {"width"}, {"fillchar", Value(" ")}},
                                        alone = {{"self"}};
  return {
      {"strip", {stripping, strip_method<Ends::kBoth>}},
      {"lstrip", {stripping, strip_method<Ends::kLeft>}},
      {"rstrip", {stripping, strip_method<Ends::kRight>}},
      {"lower", {alone, changed<lower>}},
      {"casefold", {alone, changed<lower>}},
      {"upper", {alone, changed<upper>}},
      {"swapcase", {alone, changed<swap_case>}},
      {"capitalize", {alone, changed<capitalize>}},
      {"title", {alone, changed<title>}},
      {"center", {padding, padded<'^'>}},
      {"ljust", {padding, padded<'<'>}},
      {"rjust", {padding, padded<'>'>}},
      {"zfill", {{{"self"}, {"width"}}, zeros}},
      {"expandtabs", {{{"self"}, {"tabsize", Value(8)}}, expand_tabs}},
  };
}

const BuiltinTable& string_methods() {
  static const BuiltinTable table = [] {
    BuiltinTable all = search_methods();
    all.merge(shape_methods());
    all.merge(character_methods());
    return all;
  }();
  return table;
}

}  // namespace bitsmith::jinja
