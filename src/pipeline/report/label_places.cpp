#include <algorithm>
#include <numeric>

#include "pipeline/report/plot.h"

namespace bitsmith {
namespace {

constexpr double kTextHeight = 12, kDescent = 3;  // of the plots' small text
constexpr double kPointRadius = 5, kGap = 8;      // from a point's middle to its name

struct Box {
  double left, top, right, bottom;
  bool meets(const Box& other) const {
    return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
  }
  bool inside(double width, double height) const {
    return left >= 0 && top >= 0 && right <= width && bottom <= height;
  }
};

Box text_box(const LabelPlace& place, double text_width) {
  return {place.x, place.y - kTextHeight + kDescent, place.x + text_width, place.y + kDescent};
}

// In the order of preference.
std::vector<LabelPlace> candidates(const LabeledPoint& point) {
  const double right = point.x + kGap, left = point.x - kGap - point.text_width,
               middle = point.x - point.text_width / 2, base = point.y + kDescent + 1;
  std::vector<LabelPlace> places = {{right, base},
                                    {left, base},
                                    {middle, point.y - kGap},
                                    {middle, point.y + kGap + kTextHeight - kDescent}};
  for (int step = 1; step <= 6; ++step) {
    for (const double shift : {-step * kTextHeight, step * kTextHeight}) {
      places.push_back({right, base + shift});
      places.push_back({left, base + shift});
    }
  }
  return places;
}

}  // namespace

std::vector<LabelPlace> place_labels(const std::vector<LabeledPoint>& points, double width,
                                     double height) {
  std::vector<Box> taken;
  for (const LabeledPoint& p : points)
    taken.push_back(
        {p.x - kPointRadius, p.y - kPointRadius, p.x + kPointRadius, p.y + kPointRadius});
  std::vector<size_t> order(points.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return points[i].y; });
  std::vector<LabelPlace> places(points.size());
  for (const size_t i : order) {
    const double text_width = points[i].text_width;
    const std::vector<LabelPlace> possible = candidates(points[i]);
    const auto is_free = [&](const LabelPlace& place) {
      const Box box = text_box(place, text_width);
      return box.inside(width, height) &&
             std::ranges::none_of(taken, [&](const Box& other) { return other.meets(box); });
    };
    const auto free = std::ranges::find_if(possible, is_free);
    places[i] = free != possible.end() ? *free : possible.front();
    places[i].x = std::clamp(places[i].x, 0.0, std::max(0.0, width - text_width));
    taken.push_back(text_box(places[i], text_width));
  }
  return places;
}

}  // namespace bitsmith
