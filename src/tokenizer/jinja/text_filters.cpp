// Filters that make strings of strings.
#include <algorithm>

#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/format.h"
#include "tokenizer/jinja/print.h"
#include "tokenizer/jinja/strings.h"
#include "tokenizer/utf8.h"

namespace bitsmith::jinja {
namespace {

Text input_text(Interpreter& run, const Values& a) {
  Text text = to_text(a[0], run.budget());
  run.budget().spend_bytes(text.bytes().size());
  return text;
}

template <Text (*change)(const Text&)>
Value change_filter(Interpreter& run, Values& a) {
  const Text text = input_text(run, a);
  run.budget().spend(text.bytes().size());
  return change(text);
}

// Jinja's title(): words begin after white space, hyphens and opening brackets.
Text title_words(const Text& text) {
  Text result, word;
  const auto flush = [&] {
    if (!word.empty()) result.append(capitalize(word));
    word = {};
  };
  for_each_character(text, [&](const Text& character) {
    const std::string& c = character.bytes();
    if (space_at_start(c) > 0 || std::string_view("-({[<").find(c) != std::string_view::npos) {
      flush();
      result.append(character);
    } else {
      word.append(character);
    }
  });
  flush();
  return result;
}

Value trim(Interpreter& run, Values& a) {
  return strip(input_text(run, a),
               a[1].is_none() ? std::nullopt : std::optional(text_argument(a[1])), Ends::kBoth);
}

Value replace_filter(Interpreter& run, Values& a) {
  const Text old = to_text(a[1], run.budget()), with = to_text(a[2], run.budget());
  return replace(input_text(run, a), old, with, a[3].is_none() ? -1 : integer_argument(a[3]),
                 run.budget());
}

Value indent(Interpreter& run, Values& a) {
  const Text& text = text_argument(a[0]);
  Text indention;
  if (a[1].text()) {
    indention = *a[1].text();
  } else {
    const auto width = static_cast<size_t>(std::max<int64_t>(integer_argument(a[1]), 0));
    run.budget().spend_bytes(width);
    indention.append(std::string(width, ' '));
  }
  const bool first = a[2].truth(), blank = a[3].truth();
  Text whole = text;
  whole.append("\n");
  const std::vector<Text> lines = split_lines(whole, false);
  Text result;
  for (size_t i = 0; i < lines.size(); ++i) {
    run.budget().spend_bytes(indention.bytes().size() + lines[i].bytes().size());
    run.budget().check_size(result.bytes().size());
    if (i > 0) result.append("\n");
    if (i == 0 ? first : blank || !lines[i].empty()) result.append(indention);
    result.append(lines[i]);
  }
  return result;
}

Value center_filter(Interpreter& run, Values& a) {
  Arguments arguments{{input_text(run, a), a[1]}, {}};
  return call_builtin(run, "center", string_methods().at("center"), std::move(arguments));
}

Value truncate(Interpreter& run, Values& a) {
  const Text& text = text_argument(a[0]);
  const Text& end = text_argument(a[3]);
  const int64_t length = integer_argument(a[1]);
  const int64_t leeway = a[4].is_none() ? 5 : integer_argument(a[4]);
  const auto end_length = static_cast<int64_t>(end.length());
  if (length < end_length)
    throw Failure(concat("truncate() needs a length of at least ", end_length));
  if (leeway < 0) throw Failure("truncate() needs a leeway of at least 0");
  run.budget().spend_bytes(text.bytes().size());
  const auto size = static_cast<int64_t>(text.length());
  if (size <= length || size - length <= leeway) return text;
  Text result = text.slice(0, static_cast<size_t>(length - end_length));
  if (!a[2].truth()) result = split_from_right(result, Text(" "), 1)[0];
  result.append(end);
  return result;
}

Value force_escape(Interpreter& run, Values& a) {
  const Text text = input_text(run, a);
  run.budget().spend(text.bytes().size());
  return escape_html(text).marked_safe();
}

Value escape(Interpreter& run, Values& a) {
  return a[0].text() && a[0].text()->is_safe() ? a[0] : force_escape(run, a);
}

Value safe(Interpreter& run, Values& a) { return input_text(run, a).marked_safe(); }

Value url_encode(Interpreter& run, Values& a) {
  if (!a[0].text() && !a[0].number()) throw Failure("urlencode() takes a string");
  const Text text = input_text(run, a);
  constexpr std::string_view kKept = "-._~/";
  Text result;
  for_each_character(text, [&](const Text& character) {
    run.budget().spend(1);
    std::string encoded;
    for (const char c : character.bytes()) {
      const bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
                         kKept.find(c) != kKept.npos;
      constexpr const char* kDigits = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(c);
      if (plain)
        encoded += c;
      else
        encoded += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
    result.append(character.with_bytes(encoded));
  });
  return result;
}

Value word_count(Interpreter& run, Values& a) {
  const Text text = input_text(run, a);
  int64_t words = 0;
  bool inside = false;
  for_each_character(text, [&](const Text& character) {
    run.budget().spend(1);
    const char32_t c = next_utf8(character.bytes()).code_point;
    const bool of_word = is_word_character(c) || is_numeric(c);
    words += of_word && !inside;
    inside = of_word;
  });
  return words;
}

Value format_filter(Interpreter& run, Values& a) {
  const bool named = !a[2].dict()->entries().empty();
  if (named && a[1].truth())
    throw Failure("can't handle positional and keyword arguments at the same time");
  return percent_format(input_text(run, a), named ? a[2] : a[1], run.budget());
}

Value string(Interpreter& run, Values& a) { return input_text(run, a); }

}  // namespace

BuiltinTable text_filters() {
  const Value none, no = false;
  const std::vector<Builtin::Parameter> alone = {{"value"}};
  return {
      {"lower", {alone, change_filter<lower>}},
      {"upper", {alone, change_filter<upper>}},
      {"capitalize", {alone, change_filter<capitalize>}},
      {"title", {alone, change_filter<title_words>}},
      {"trim", {{{"value"}, {"chars", none}}, trim}},
      {"replace", {{{"s"}, {"old"}, {"new"}, {"count", none}}, replace_filter}},
      {"indent", {{{"s"}, {"width", Value(4)}, {"first", no}, {"blank", no}}, indent}},
      {"center", {{{"value"}, {"width", Value(80)}}, center_filter}},
      {"truncate",
       {{{"s"}, {"length", Value(255)}, {"killwords", no}, {"end", Value("...")}, {"leeway", none}},
        truncate}},
      {"escape", {alone, escape}},
      {"e", {alone, escape}},
      {"forceescape", {alone, force_escape}},
      {"urlencode", {alone, url_encode}},
      {"wordcount", {alone, word_count}},
      {"format", {{{"value"}, {"*"}, {"**"}}, format_filter}},
      {"string", {alone, string}},
      {"safe", {alone, safe}},
  };
}

}  // namespace bitsmith::jinja
