#include <charconv>
#include <cmath>
#include <cstdio>

#include "tokenizer/jinja/format.h"
#include "tokenizer/jinja/print.h"

namespace bitsmith::jinja {
namespace {

constexpr int64_t kMaxPrecision = 400;

int checked_precision(int64_t precision, int64_t fallback) {
  if (precision > kMaxPrecision)
    throw Failure(concat("a precision of more than ", kMaxPrecision, " digits"));
  return static_cast<int>(precision < 0 ? fallback : precision);
}

std::string integer_digits(uint64_t magnitude, const FieldStyle& style) {
  const int base = style.type == 'x' || style.type == 'X' ? 16
                   : style.type == 'o'                    ? 8
                   : style.type == 'b'                    ? 2
                                                          : 10;
  char buffer[72];
  std::string digits(buffer, std::to_chars(buffer, buffer + sizeof(buffer), magnitude, base).ptr);
  const int least = checked_precision(style.precision, 0);
  if (static_cast<int>(digits.size()) < least)
    digits.insert(0, static_cast<size_t>(least) - digits.size(), '0');
  const char* prefix = base == 16 ? "0x" : base == 8 ? "0o" : base == 2 ? "0b" : "";
  if (style.alternate) digits = prefix + digits;
  if (style.type == 'X')
    for (char& c : digits) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  return digits;
}

std::string float_digits(double magnitude, const FieldStyle& style) {
  if (style.type == 0 && style.precision < 0) return float_text(magnitude);
  const bool percent = style.type == '%';
  char type = percent ? 'f' : style.type == 0 ? 'g' : style.type;
  const char pattern[] = {'%', '.', '*', type, 0};
  char buffer[800];
  std::snprintf(buffer, sizeof(buffer), pattern, checked_precision(style.precision, 6),
                percent ? magnitude * 100 : magnitude);
  return percent ? std::string(buffer) + "%" : buffer;
}

void group_thousands(std::string& digits, char mark) {
  size_t end = digits.find_first_not_of("0123456789");
  if (end == digits.npos) end = digits.size();
  for (size_t at = end; at > 3; at -= 3) digits.insert(at - 3, 1, mark);
}

}  // namespace

std::string formatted_number(const Value& value, const FieldStyle& style) {
  static constexpr std::string_view kOfFloats = "eEfFgG%";
  const bool as_float = value.is_float() || kOfFloats.find(style.type) != kOfFloats.npos;
  bool negative;
  std::string digits;
  if (as_float && style.type != 'd' && style.type != 'x' && style.type != 'X') {
    const double number = number_argument(value);
    negative = std::signbit(number) && !std::isnan(number);
    digits = float_digits(std::abs(number), style);
  } else {
    const int64_t number = integer_argument(value);
    negative = number < 0;
    digits = integer_digits(
        negative ? 0 - static_cast<uint64_t>(number) : static_cast<uint64_t>(number), style);
  }
  if (style.grouping) group_thousands(digits, style.grouping);
  const std::string sign = negative ? "-" : style.sign == '-' ? "" : std::string(1, style.sign);
  return sign + digits;
}

Text filled(const Text& text, const FieldStyle& style, Budget& budget) {
  const auto length = static_cast<int64_t>(text.length());
  if (style.width <= length) return text;
  const auto missing = static_cast<size_t>(style.width - length);
  budget.spend_bytes(Budget::product(style.fill.size(), missing));
  const size_t left = style.align == '<' ? 0 : style.align == '^' ? missing / 2 : missing;
  const bool signed_zeros =
      style.align == '=' && !text.empty() && (text.bytes()[0] == '-' || text.bytes()[0] == '+');
  const size_t sign = signed_zeros ? 1 : 0;
  Text result = text.slice_bytes(0, sign);
  for (size_t i = 0; i < left; ++i) result.append(style.fill);
  result.append(text.slice_bytes(sign, text.bytes().size()));
  for (size_t i = left; i < missing; ++i) result.append(style.fill);
  return result;
}

}  // namespace bitsmith::jinja
