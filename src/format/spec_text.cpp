#include "format/spec_text.h"

#include <charconv>

#include "base/error.h"

namespace bitsmith {

bool SpecReader::take(std::string_view literal) {
  if (!rest_.starts_with(literal)) return false;
  rest_.remove_prefix(literal.size());
  return true;
}

void SpecReader::expect(std::string_view literal) {
  if (!take(literal)) fail(concat("'", literal, "' is missing"));
}

void SpecReader::expect_end() {
  if (!rest_.empty()) fail(concat("'", excerpt(rest_), "' is not understood"));
}

int64_t SpecReader::number(const char* what, int64_t low, int64_t high) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
  const auto digits = static_cast<size_t>(end - rest_.data());
  const bool plain = digits == 1 || (digits > 1 && rest_[0] != '0' && rest_[0] != '-');
  if (error != std::errc() || !plain) fail(concat("the number of ", what, " is missing"));
  if (value < low || value > high) {
    fail(concat(value, " ", what, " is outside ", low, "..", high));
  }
  rest_.remove_prefix(digits);
  return value;
}

int64_t SpecReader::hundredths(const char* what, int64_t high) {
  int64_t value = number(what, 0, high) * 100;
  if (!take(".")) return value;
  for (int64_t unit = 10; unit > 0 && !rest_.empty(); unit /= 10) {
    const char digit = rest_[0];
    if (digit < '0' || digit > '9') {
      if (unit == 10) fail(concat("a digit of the number of ", what, " is missing"));
      break;
    }
    value += unit * (digit - '0');
    rest_.remove_prefix(1);
  }
  return value;
}

void SpecReader::fail(const std::string& reason) const {
  throw UsageError(concat("representation '", excerpt(text_), "': ", reason, "; ", grammar_));
}

std::string decimal_text(int64_t hundredths) {
  std::string text = std::to_string(hundredths / 100);
  if (hundredths % 100 == 0) return text;
  text += concat(".", hundredths / 10 % 10);
  if (hundredths % 10 != 0) text += std::to_string(hundredths % 10);
  return text;
}

}  // namespace bitsmith
