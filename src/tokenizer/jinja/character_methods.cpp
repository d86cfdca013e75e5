// str.isalpha() and its kin.
#include <utf8proc.h>

#include <algorithm>

#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/print.h"
#include "tokenizer/utf8.h"

namespace bitsmith::jinja {
namespace {

utf8proc_category_t category_of(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}
bool is_letter(char32_t c) {
  const auto category = category_of(c);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}
bool is_decimal(char32_t c) { return category_of(c) == UTF8PROC_CATEGORY_ND; }
bool is_letter_or_number(char32_t c) { return is_letter(c) || is_numeric(c); }
bool is_ascii(char32_t c) { return c < 0x80; }
bool is_upper(char32_t c) {
  const auto category = category_of(c);
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LT;
}
bool is_lower(char32_t c) { return category_of(c) == UTF8PROC_CATEGORY_LL; }

std::vector<char32_t> code_points(const Values& a) {
  std::string_view rest = text_argument(a[0]).bytes();
  std::vector<char32_t> result;
  while (!rest.empty()) {
    const Utf8Unit unit = next_utf8(rest);
    result.push_back(unit.code_point);
    rest.remove_prefix(static_cast<size_t>(unit.length));
  }
  return result;
}

// All characters are such, and there is one.
template <bool (*meets)(char32_t), bool of_empty = false>
Value all_are(Interpreter& run, Values& a) {
  const std::vector<char32_t> characters = code_points(a);
  run.budget().spend(characters.size());
  return characters.empty() ? of_empty : std::ranges::all_of(characters, meets);
}

// No letter is of the other case, and one is of this.
template <bool (*wanted)(char32_t), bool (*other)(char32_t)>
Value is_case(Interpreter& run, Values& a) {
  const std::vector<char32_t> characters = code_points(a);
  run.budget().spend(characters.size());
  return std::ranges::none_of(characters, other) && std::ranges::any_of(characters, wanted);
}

Value is_title(Interpreter& run, Values& a) {
  bool inside = false, any = false;
  for (const char32_t c : code_points(a)) {
    run.budget().spend(1);
    if (is_upper(c) ? inside : is_lower(c) && !inside) return false;
    inside = is_upper(c) || is_lower(c);
    any = any || inside;
  }
  return any;
}

Value is_identifier(Interpreter&, Values& a) {
  const std::vector<char32_t> characters = code_points(a);
  if (characters.empty() || is_numeric(characters[0])) return false;
  return std::ranges::all_of(characters,
                             [](char32_t c) { return c == '_' || is_word_character(c); });
}

}  // namespace

BuiltinTable character_methods() {
  const std::vector<Builtin::Parameter> alone = {{"self"}};
  return {
      {"isalpha", {alone, all_are<is_letter>}},
      {"isalnum", {alone, all_are<is_letter_or_number>}},
      {"isdigit", {alone, all_are<is_decimal>}},
      {"isdecimal", {alone, all_are<is_decimal>}},
      {"isnumeric", {alone, all_are<is_numeric>}},
      {"isspace", {alone, all_are<is_space_character>}},
      {"isascii", {alone, all_are<is_ascii, true>}},
      {"isprintable", {alone, all_are<is_printable, true>}},
      {"islower", {alone, is_case<is_lower, is_upper>}},
      {"isupper", {alone, is_case<is_upper, is_lower>}},
      {"istitle", {alone, is_title}},
      {"isidentifier", {alone, is_identifier}},
  };
}

}  // namespace bitsmith::jinja
