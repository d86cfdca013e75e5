#include "base/byte_size.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "base/error.h"

namespace bitsmith {
namespace {

struct Unit {
  const char* name;
  double bytes;
};
constexpr Unit kUnits[] = {{"tib", 0x1p40}, {"gib", 0x1p30}, {"mib", 0x1p20}, {"kib", 0x1p10},
                           {"tb", 1e12},    {"gb", 1e9},     {"mb", 1e6},     {"kb", 1e3},
                           {"b", 1},        {"", 1}};

}  // namespace

std::string option_text(const ByteSize& size) {
  constexpr const char* kNames[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  uint64_t number = size.bytes;
  size_t unit = 0;
  for (; unit < 4 && number > 0 && number % 1024 == 0; ++unit) number /= 1024;
  return std::to_string(number) + kNames[unit];
}

void parse_option(const std::string& text, ByteSize& size) {
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  std::string name(end, static_cast<size_t>(text.data() + text.size() - end));
  std::erase(name, ' ');
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  const Unit* unit = std::ranges::find_if(kUnits, [&](const Unit& u) { return name == u.name; });
  const double bytes = unit == std::end(kUnits) ? -1 : number * unit->bytes;
  if (error != std::errc() || !(bytes >= 1 && bytes <= 0x1p60))
    throw UsageError(concat("'", excerpt(text),
                            "' is no size: write a number of bytes with a unit,"
                            " for example 512MiB or 2GB"));
  size.bytes = static_cast<uint64_t>(bytes);
}

}  // namespace bitsmith
