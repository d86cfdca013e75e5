// A mean with its standard error.
#pragma once
#include <cmath>
#include <span>

namespace bitsmith {

struct MeanError {
  double mean = 0, error = 0;
};

// Of values, at least one, that are independent draws; the error of a single one is 0.
inline MeanError mean_and_error(std::span<const double> values) {
  const double count = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const double value : values) sum += value;
  const double mean = sum / count;
  for (const double value : values) squares += (value - mean) * (value - mean);
  if (count < 2) return {mean, 0};
  return {mean, std::sqrt(squares / (count - 1) / count)};
}

}  // namespace bitsmith
