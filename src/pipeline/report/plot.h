// Plots as SVG for an HTML page: series over two axes, and stacked bars. Colors are classes of the
// page's style sheet (c0 to c7). Names and labels are escaped here.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "pipeline/report/axis.h"

namespace bitsmith {

struct PlotPoint {
  double x = 0, y = 0;  // finite
};

struct PlotSeries {
  std::string name = {};
  int color = 0;  // results beyond the eighth have the first's colors, with hollow points
  bool line = true, dashed = false;  // a line through the points, in their order
  bool named = false;                // the name stands beside the first point
  std::vector<PlotPoint> points = {};
};

struct Plot {
  std::string title = {}, x_title = {}, y_title = {};
  AxisScale x_scale = AxisScale::kLinear, y_scale = AxisScale::kLogWhereWide;
  std::optional<Axis> y_axis = {};  // in place of one that fits the points
  double width = 400, height = 300;
  std::vector<PlotSeries> series = {};
};

// The page scales it to the width that there is. Empty where there are no points.
std::string plot_svg(const Plot& plot);

// Where the names of points are written: beside the point on the right, else on the left, above,
// below, or farther up and down; not on other points or names where that is possible.
struct LabeledPoint {
  double x = 0, y = 0;  // in the units of the drawing; y grows downward
  double text_width = 0;
};
struct LabelPlace {
  double x = 0, y = 0;  // the left end of the base line
};
std::vector<LabelPlace> place_labels(const std::vector<LabeledPoint>& points, double width,
                                     double height);

struct StackedBar {
  std::string name, value;  // written above the bar
  struct Part {
    std::string tooltip;
    int color = 0;
    double size = 0;  // not negative
  };
  std::vector<Part> parts;
};
// Bars from zero on one scale. Empty where there are none.
std::string bars_svg(const std::string& title, const std::vector<StackedBar>& bars);

}  // namespace bitsmith
