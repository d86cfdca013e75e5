#include "tokenizer/jinja/strftime.h"

#include "base/error.h"
#include "tokenizer/jinja/value.h"

namespace bitsmith::jinja {

std::tm midnight(int year, int month, int day) {
  std::tm time = {};
  time.tm_year = year - 1900;
  time.tm_mon = month - 1;
  time.tm_mday = day;
  timegm(&time);  // fills in the day of the week and of the year
  return time;
}

std::string format_time(std::string_view format, const std::tm& time) {
  static constexpr std::string_view kCodes = "aAbBcCdDeFgGhHIjmMnpPrRStTuUVwWxXyY%lks";
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      out += format[i];
      continue;
    }
    size_t flags = i + 1;  // GNU's: %-d, %_d, %02d have no others here
    while (flags + 1 < format.size() &&
           std::string_view("-_0^#").find(format[flags]) != std::string_view::npos)
      ++flags;
    const char code = format[flags];
    std::string one(format.substr(i, flags + 1 - i));
    i = flags;
    if (code == 'f') {
      out += "000000";  // the time has whole seconds
    } else if (code == 'z' || code == 'Z') {
      continue;  // no zone
    } else if (kCodes.find(code) != kCodes.npos) {
      if (one.size() > 4) throw Failure("strftime_now() has a format with too many flags");
      char text[128];
      out.append(text, std::strftime(text, sizeof(text), one.c_str(), &time));
    } else {
      throw Failure(concat("strftime_now() does not know '", excerpt(one), "'"));
    }
  }
  return out;
}

}  // namespace bitsmith::jinja
