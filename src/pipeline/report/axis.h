// An axis of a plot: what it spans, and where its ticks are.
#pragma once
#include <string>
#include <vector>

namespace bitsmith {

struct Axis {
  double low = 0, high = 1;  // low < high; both positive where it is logarithmic
  bool logarithmic = false;
  std::vector<double> ticks;  // ascending, in [low, high]

  // Where a value lies: 0 at low, 1 at high.
  double place(double value) const;
};

// Multiples of 1, 2 or 5 times a power of ten, `most` + 1 of them at most. `whole`: integers.
std::vector<double> linear_ticks(double low, double high, int most, bool whole = false);
// 1, 2 and 5 times powers of ten, or powers of ten alone, or every n-th of these; 0 < low < high.
std::vector<double> log_ticks(double low, double high, int most);

enum class AxisScale {
  kLinear,
  kWhole,         // linear, with integers for ticks
  kLogWhereWide,  // logarithmic where all values are positive and the largest is more than ten
                  // times the smallest
};
// Spans the values, with a margin. There is at least one; in magnitude they are zero or between
// 1e-30 and 1e20.
Axis fitting_axis(const std::vector<double>& values, AxisScale scale, int most_ticks = 6);

// "0.05", "120", "25k", "1.5M".
std::string tick_label(double value);

}  // namespace bitsmith
