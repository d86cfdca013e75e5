#include "compressor/budget/ladder.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace bitsmith {
namespace {

constexpr double kLeastError = 1e-12;

using Ladder = std::vector<std::optional<double>>;

bool is_whole(const Ladder& errors) {
  return std::all_of(errors.begin(), errors.end(),
                     [](const auto& error) { return error.has_value(); });
}

// The given candidate that is nearest to `candidate`; of two the one with fewer bits.
size_t nearest_given(const Ladder& errors, size_t candidate) {
  for (size_t distance = 0; distance < errors.size(); ++distance) {
    if (distance <= candidate && errors[candidate - distance]) return candidate - distance;
    if (candidate + distance < errors.size() && errors[candidate + distance])
      return candidate + distance;
  }
  BITSMITH_CHECK(false);
  return 0;
}

double log_error(const Ladder& errors, size_t candidate) {
  return std::log(std::max(*errors[candidate], kLeastError));
}

}  // namespace

std::vector<size_t> whole_ladders(size_t count) {
  std::vector<size_t> whole;
  if (count <= 4) {
    for (size_t i = 0; i < count; ++i) whole.push_back(i);
    return whole;
  }
  const size_t range = count - 3;  // from the second to the last but one
  const size_t steps = (range + kWholeLadderStep - 1) / kWholeLadderStep;
  whole.push_back(0);
  for (size_t step = 0; step <= steps; ++step) whole.push_back(1 + range * step / steps);
  whole.push_back(count - 1);
  return whole;
}

std::vector<std::vector<double>> completed_ladders(const std::vector<Ladder>& errors) {
  std::vector<std::vector<double>> completed;
  const std::vector<size_t> whole = whole_ladders(errors.size());
  for (const size_t unit : whole) BITSMITH_CHECK(is_whole(errors[unit]));
  for (size_t unit = 0; unit < errors.size(); ++unit) {
    const auto above = std::lower_bound(whole.begin(), whole.end(), unit);
    const size_t after = *above, before = after == unit ? unit : *(above - 1);
    const double share =
        after == before ? 0
                        : static_cast<double>(unit - before) / static_cast<double>(after - before);
    completed.emplace_back();
    for (size_t candidate = 0; candidate < errors[unit].size(); ++candidate) {
      const size_t given = nearest_given(errors[unit], candidate);
      if (given == candidate) {
        completed.back().push_back(*errors[unit][candidate]);
        continue;
      }
      const auto log_ratio = [&](size_t other) {
        return log_error(errors[other], candidate) - log_error(errors[other], given);
      };
      completed.back().push_back(std::exp(log_error(errors[unit], given) +
                                          (1 - share) * log_ratio(before) +
                                          share * log_ratio(after)));
    }
  }
  return completed;
}

std::vector<double> interpolated_kl(const std::vector<double>& relative_errors,
                                    const std::vector<std::optional<double>>& measured) {
  BITSMITH_CHECK(relative_errors.size() == measured.size());
  struct Point {
    double error, kl;
  };
  std::vector<Point> points;  // by rising error
  for (size_t i = 0; i < measured.size(); ++i) {
    if (measured[i])
      points.push_back(
          {std::max(relative_errors[i], kLeastError), std::max(*measured[i], kLeastKl)});
  }
  BITSMITH_CHECK(!points.empty());
  std::sort(points.begin(), points.end(),
            [](const Point& a, const Point& b) { return a.error < b.error; });
  const auto kl_at = [&](double error) {
    const auto above = std::find_if(points.begin(), points.end(),
                                    [&](const Point& point) { return point.error > error; });
    if (above == points.begin()) return above->kl * error / above->error;
    const Point& below = *(above - 1);
    if (above == points.end()) return below.kl * error / below.error;
    const double share = std::log(error / below.error) / std::log(above->error / below.error);
    return below.kl * std::pow(above->kl / below.kl, share);
  };
  std::vector<double> kl;
  for (size_t i = 0; i < measured.size(); ++i) {
    kl.push_back(std::max(
        kLeastKl, measured[i] ? *measured[i] : kl_at(std::max(relative_errors[i], kLeastError))));
  }
  return kl;
}

}  // namespace bitsmith
