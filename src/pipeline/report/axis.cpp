#include "pipeline/report/axis.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/error.h"

namespace bitsmith {
namespace {

constexpr double kMargin = 0.06;  // of the spanned length, at both ends
constexpr double kWide = 10;      // from here on an axis is logarithmic

double power_of_ten(int exponent) { return std::pow(10.0, exponent); }

// The smallest of 1, 2, 5 times a power of ten that is `least` or more.
double round_step(double least) {
  const double power = power_of_ten(static_cast<int>(std::floor(std::log10(least))));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= least * (1 - 1e-12)) return factor * power;
  return 10 * power;
}

Axis linear_axis(double low, double high, bool whole, int most_ticks) {
  Axis axis;
  const double size = std::max(std::abs(low), std::abs(high));
  // A single value, and one that cannot be told from it, gets room of its own size.
  double length = high - low;
  if (!(length > 1e-9 * size)) length = size > 0 ? size : 1;
  axis.low = low - kMargin * length;
  axis.high = high + kMargin * length;
  if (low >= 0) axis.low = std::max(axis.low, 0.0);
  axis.ticks = linear_ticks(axis.low, axis.high, most_ticks, whole);
  return axis;
}

}  // namespace

double Axis::place(double value) const {
  if (logarithmic) return std::log(value / low) / std::log(high / low);
  return (value - low) / (high - low);
}

std::vector<double> linear_ticks(double low, double high, int most, bool whole) {
  BITSMITH_CHECK(low < high && most >= 2);
  double step = round_step((high - low) / most);
  if (whole) step = std::max(step, 1.0);
  const double first = std::ceil(low / step - 1e-9), last = std::floor(high / step + 1e-9);
  std::vector<double> ticks;
  for (int i = 0; i <= most && first + i <= last; ++i) ticks.push_back((first + i) * step);
  return ticks;
}

std::vector<double> log_ticks(double low, double high, int most) {
  BITSMITH_CHECK(0 < low && low < high && most >= 2);
  const int first = static_cast<int>(std::floor(std::log10(low))),
            last = static_cast<int>(std::ceil(std::log10(high)));
  const auto ticks_of = [&](std::vector<double> factors, int every) {
    std::vector<double> ticks;
    for (int exponent = first; exponent <= last; exponent += every) {
      for (const double factor : factors) {
        const double tick = factor * power_of_ten(exponent);
        if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) ticks.push_back(tick);
      }
    }
    return ticks;
  };
  if (auto ticks = ticks_of({1, 2, 5}, 1); std::ssize(ticks) <= most) return ticks;
  return ticks_of({1}, std::max(1, (last - first + most - 1) / most));
}

Axis fitting_axis(const std::vector<double>& values, AxisScale scale, int most_ticks) {
  BITSMITH_CHECK(!values.empty());
  const auto [low, high] = std::ranges::minmax(values);
  if (scale != AxisScale::kLogWhereWide || low <= 0 || high <= kWide * low)
    return linear_axis(low, high, scale == AxisScale::kWhole, most_ticks);
  Axis axis;
  const double margin = std::pow(high / low, kMargin);
  axis.logarithmic = true;
  axis.low = low / margin;
  axis.high = high * margin;
  axis.ticks = log_ticks(axis.low, axis.high, most_ticks);
  return axis;
}

std::string tick_label(double value) {
  const double size = std::abs(value);
  const double unit = size >= 1e6 ? 1e6 : size >= 1e4 ? 1e3 : 1;
  char text[40];
  std::snprintf(text, sizeof(text), "%.4g%s", value / unit,
                unit == 1e6   ? "M"
                : unit == 1e3 ? "k"
                              : "");
  return text;
}

}  // namespace bitsmith
