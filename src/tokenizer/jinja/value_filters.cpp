// Filters of numbers, of missing values, and JSON.
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/lookup.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/strings.h"
#include "tokenizer/jinja/to_json.h"

namespace bitsmith::jinja {
namespace {

Value absolute(Interpreter&, Values& a) {
  const double number = number_argument(a[0]);
  return number < 0 ? signed_value('-', a[0]) : signed_value('+', a[0]);
}

// Digits may have single underscores between them.
std::optional<std::string> without_underscores(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_')
      out += text[i];
    else if (i == 0 || i + 1 == text.size() ||
             !std::isalnum(static_cast<unsigned char>(text[i - 1])) ||
             !std::isalnum(static_cast<unsigned char>(text[i + 1])))
      return std::nullopt;
  }
  return out;
}

// int(text, base): nothing where Python raises an error.
std::optional<int64_t> parse_integer(const Text& text, int64_t base) {
  const Text trimmed = strip(text, std::nullopt, Ends::kBoth);
  std::string_view rest = trimmed.bytes();
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  const auto digits = without_underscores(rest);
  if (!digits || base < 2 || base > 36) return std::nullopt;
  rest = *digits;
  const char mark = base == 16 ? 'x' : base == 8 ? 'o' : base == 2 ? 'b' : '\0';
  if (mark && rest.size() > 2 && rest[0] == '0' && (rest[1] | 32) == mark) rest.remove_prefix(2);
  if (rest.empty() || rest[0] == '-') return std::nullopt;
  int64_t value = 0;
  const std::string signed_digits = (negative ? "-" : "") + std::string(rest);
  const char* end = signed_digits.data() + signed_digits.size();
  const auto read = std::from_chars(signed_digits.data(), end, value, static_cast<int>(base));
  if (read.ec == std::errc::result_out_of_range)
    throw Failure(concat("the number ", excerpt(text.bytes()), " is beyond 64 bits"));
  if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return value;
}

std::optional<double> parse_float(const Text& text) {
  const Text trimmed = lower(strip(text, std::nullopt, Ends::kBoth));
  const auto digits = without_underscores(trimmed.bytes());
  if (!digits || digits->empty()) return std::nullopt;
  std::string_view word = *digits;
  if (word[0] == '+' || word[0] == '-') word.remove_prefix(1);
  const bool named = word == "inf" || word == "infinity" || word == "nan";
  if (!named && word.find_first_not_of("0123456789.e+-") != word.npos) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(digits->c_str(), &end);
  return *end == 0 ? std::optional(value) : std::nullopt;
}

int64_t whole_number(double value) {
  if (std::abs(value) >= 0x1p63) throw Failure("an integer beyond 64 bits");
  return static_cast<int64_t>(value);
}

Value to_int(Interpreter&, Values& a) {
  require_defined(a[0]);
  if (a[0].integer()) return *a[0].integer();
  std::optional<double> number = a[0].number();
  if (const Text* text = a[0].text()) {
    if (const auto value = parse_integer(*text, integer_argument(a[2]))) return *value;
    number = parse_float(*text);
  }
  return number && std::isfinite(*number) ? Value(whole_number(*number)) : a[1];
}

Value to_float(Interpreter&, Values& a) {
  require_defined(a[0]);
  if (a[0].number()) return *a[0].number();
  const auto value = a[0].text() ? parse_float(*a[0].text()) : std::nullopt;
  return value ? Value(*value) : a[1];
}

// To the nearest, halves to even, as Python rounds: by the exact decimal digits.
double rounded(double value, int64_t precision) {
  if (!std::isfinite(value) || precision > 300) return value;
  if (precision < 0) {
    const double scale = std::pow(10.0, static_cast<double>(std::min<int64_t>(-precision, 330)));
    return std::isinf(scale) ? 0.0 : std::nearbyint(value / scale) * scale;
  }
  char text[800];
  std::snprintf(text, sizeof(text), "%.*f", static_cast<int>(precision), value);
  return std::strtod(text, nullptr);
}

Value round_filter(Interpreter&, Values& a) {
  const double value = number_argument(a[0]);
  const int64_t precision = integer_argument(a[1]);
  const std::string& method = text_argument(a[2]).bytes();
  if (method == "common" && a[0].integer())
    return precision >= 0 ? *a[0].integer() : whole_number(rounded(value, precision));
  if (method == "common") return rounded(value, precision);
  if (method != "ceil" && method != "floor") throw Failure("method must be common, ceil or floor");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double whole = method == "ceil" ? std::ceil(value * scale) : std::floor(value * scale);
  return (whole + 0.0) / scale;  // not -0
}

Value file_size(Interpreter&, Values& a) {
  const double bytes = number_argument(a[0]);
  const bool binary = a[1].truth();
  static constexpr const char* kDecimal[] = {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
  static constexpr const char* kBinary[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};
  const double base = binary ? 1024 : 1000;
  if (bytes == 1) return "1 Byte";
  if (bytes < base) return concat(static_cast<int64_t>(bytes), " Bytes");
  size_t power = 0;
  double unit = base;
  for (; power < 7 && bytes >= unit * base; ++power) unit *= base;
  char text[64];
  std::snprintf(text, sizeof(text), "%.1f %s", bytes / unit, (binary ? kBinary : kDecimal)[power]);
  return text;
}

Value default_filter(Interpreter&, Values& a) {
  return a[0].is_undefined() || (a[2].truth() && !a[0].truth()) ? a[1] : a[0];
}

// What has this name and is no item.
Value attr(Interpreter& run, Values& a) {
  const std::string name = text_argument(a[1]).bytes();
  require_defined(a[0]);
  if (a[0].dict() && !find_method(a[0], name))
    return Value::undefined(concat("'dict object' has no attribute '", name, "'"));
  return attribute_of(run, a[0], name);
}

JsonStyle json_style(Interpreter& run, const Values& a) {
  JsonStyle style;
  style.ensure_ascii = a[1].truth();
  if (a[2].text()) {
    style.indent = *a[2].text();
  } else if (!a[2].is_none()) {
    const auto width = static_cast<size_t>(std::max<int64_t>(integer_argument(a[2]), 0));
    run.budget().spend_bytes(width);
    style.indent = Text(std::string(width, ' '));
  }
  if (style.indent) style.item_separator = Text(",");
  if (!a[3].is_none()) {
    const Values separators = items_of(a[3], run.budget());
    if (separators.size() != 2) throw Failure("tojson() takes two separators");
    style.item_separator = text_argument(separators[0]);
    style.key_separator = text_argument(separators[1]);
  }
  style.sort_keys = a[4].truth();
  return style;
}

Value to_json_filter(Interpreter& run, Values& a) {
  return to_json(a[0], json_style(run, a), run.budget());
}

}  // namespace

BuiltinTable value_filters() {
  const Value none, no = false;
  const Builtin fallback = {{{"value"}, {"default_value", Value("")}, {"boolean", no}},
                            default_filter};
  return {
      {"abs", {{{"x"}}, absolute}},
      {"int", {{{"value"}, {"default", Value(0)}, {"base", Value(10)}}, to_int}},
      {"float", {{{"value"}, {"default", Value(0.0)}}, to_float}},
      {"round", {{{"value"}, {"precision", Value(0)}, {"method", Value("common")}}, round_filter}},
      {"filesizeformat", {{{"value"}, {"binary", no}}, file_size}},
      {"default", fallback},
      {"d", fallback},
      {"attr", {{{"obj"}, {"name"}}, attr}},
      {"tojson",
       {{{"x"}, {"ensure_ascii", no}, {"indent", none}, {"separators", none}, {"sort_keys", no}},
        to_json_filter}},
  };
}

}  // namespace bitsmith::jinja
