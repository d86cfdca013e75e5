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
  uint64_t bytes;
};
// The first of two that fit alike is written.
constexpr Unit kUnits[] = {{"TiB", 1ull << 40},
                           {"TB", 1'000'000'000'000},
                           {"GiB", 1ull << 30},
                           {"GB", 1'000'000'000},
                           {"MiB", 1ull << 20},
                           {"MB", 1'000'000},
                           {"KiB", 1ull << 10},
                           {"kB", 1000},
                           {"B", 1},
                           {"", 1}};

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

}  // namespace

std::string option_text(const ByteSize& size) {
  if (size.bytes == 0) return "0B";
  const Unit& unit =
      *std::ranges::find_if(kUnits, [&](const Unit& u) { return size.bytes % u.bytes == 0; });
  return concat(size.bytes / unit.bytes, unit.name);
}

void parse_option(const std::string& text, ByteSize& size) {
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  std::string name(end, static_cast<size_t>(text.data() + text.size() - end));
  std::erase(name, ' ');
  const Unit* unit = std::ranges::find_if(
      kUnits, [wanted = lower(name)](const Unit& u) { return wanted == lower(u.name); });
  const double bytes = unit == std::end(kUnits) ? -1 : number * static_cast<double>(unit->bytes);
  if (error != std::errc() || !(bytes >= 1 && bytes <= 0x1p60))
    throw UsageError(concat("'", excerpt(text),
                            "' is no size: write a number of bytes with a unit,"
                            " for example 512MiB or 2GB"));
  size.bytes = static_cast<uint64_t>(std::llround(bytes));
}

}  // namespace bitsmith
