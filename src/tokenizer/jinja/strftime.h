// Dates by a template's format.
#pragma once
#include <ctime>
#include <string>
#include <string_view>

namespace bitsmith::jinja {

// Midnight of a day; month and day from 1.
std::tm midnight(int year, int month, int day);

// As Python's datetime.strftime() in the C locale, for a time without a zone. Throws Failure for a
// code that C does not define.
std::string format_time(std::string_view format, const std::tm& time);

}  // namespace bitsmith::jinja
