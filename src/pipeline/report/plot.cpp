#include "pipeline/report/plot.h"

#include <algorithm>
#include <cstdio>

#include "base/error.h"
#include "pipeline/report/html_text.h"

namespace bitsmith {
namespace {

constexpr int kColors = 8;
constexpr double kLeft = 46, kRight = 12, kTop = 24, kBottom = 36;  // around the plotted area
constexpr double kCharacter = 6.2;   // mean width of one of the small text, a little wide
constexpr size_t kLongestName = 26;  // characters beside a point

// A coordinate: a tenth of a unit is less than a pixel.
std::string at(double value) {
  char text[40];
  std::snprintf(text, sizeof(text), "%.1f", value);
  return text;
}

std::string svg_begin(const std::string& title, double width, double height) {
  return concat("<svg viewBox=\"0 0 ", width, " ", height, "\" role=\"img\" aria-label=\"",
                html_text(title), "\">\n");
}

std::string text_at(double x, double y, const char* anchor, const std::string& text,
                    const char* style = "") {
  if (text.empty()) return "";
  return concat("<text x=\"", at(x), "\" y=\"", at(y), "\" text-anchor=\"", anchor, "\"",
                *style ? concat(" class=\"", style, "\"") : "", ">", html_text(text), "</text>\n");
}

std::string line_from(double x1, double y1, double x2, double y2, const char* style) {
  return concat("<line class=\"", style, "\" x1=\"", at(x1), "\" y1=\"", at(y1), "\" x2=\"", at(x2),
                "\" y2=\"", at(y2), "\"/>\n");
}

class Drawing {
 public:
  Drawing(const Plot& plot, const Axis& x, const Axis& y) : plot_(plot), x_(x), y_(y) {}

  std::string svg() const {
    std::string text = svg_begin(plot_.title, plot_.width, plot_.height);
    text += text_at(kLeft, 14, "start", plot_.title, "title");
    text += axes();
    for (const PlotSeries& series : plot_.series) text += drawn(series);
    return text + names() + "</svg>\n";
  }

 private:
  double right() const { return plot_.width - kRight; }
  double bottom() const { return plot_.height - kBottom; }
  double across(double value) const { return kLeft + x_.place(value) * (right() - kLeft); }
  double down(double value) const { return bottom() - y_.place(value) * (bottom() - kTop); }

  std::string axes() const {
    std::string text;
    for (const double tick : y_.ticks) {
      text += line_from(kLeft, down(tick), right(), down(tick), "grid");
      text += text_at(kLeft - 5, down(tick) + 4, "end", tick_label(tick));
    }
    for (const double tick : x_.ticks) {
      text += line_from(across(tick), bottom(), across(tick), bottom() + 4, "axis");
      text += text_at(across(tick), bottom() + 16, "middle", tick_label(tick));
    }
    text += line_from(kLeft, bottom(), right(), bottom(), "axis");
    text += text_at(right(), plot_.height - 5, "end", plot_.x_title, "unit");
    return text + text_at(right(), 14, "end", plot_.y_title, "unit");
  }

  std::string drawn(const PlotSeries& series) const {
    std::string text = concat(
        "<g class=\"c", series.color % kColors, series.color >= kColors ? " hollow" : "",
        series.dashed ? " dashed" : "", "\">\n<title>", html_text(series.name), "</title>\n");
    if (series.line && series.points.size() > 1) {
      text += "<polyline points=\"";
      for (const PlotPoint& point : series.points)
        text += concat(at(across(point.x)), ",", at(down(point.y)), " ");
      text += "\"/>\n";
    }
    for (const PlotPoint& point : series.points) {
      text += concat("<circle cx=\"", at(across(point.x)), "\" cy=\"", at(down(point.y)), "\" r=\"",
                     series.line ? "2" : "4.5", "\"><title>", html_text(series.name), ": ",
                     tick_label(point.x), ", ", tick_label(point.y), "</title></circle>\n");
    }
    return text + "</g>\n";
  }

  // Of the series that are named, placed together.
  std::string names() const {
    std::vector<LabeledPoint> points;
    std::vector<std::string> shown;
    for (const PlotSeries& series : plot_.series) {
      if (!series.named || series.points.empty()) continue;
      shown.push_back(shortened(series.name, kLongestName));
      points.push_back({across(series.points[0].x), down(series.points[0].y),
                        kCharacter * static_cast<double>(character_count(shown.back()))});
    }
    const std::vector<LabelPlace> places = place_labels(points, plot_.width, bottom());
    std::string text;
    for (size_t i = 0; i < places.size(); ++i)
      text += text_at(places[i].x, places[i].y, "start", shown[i], "name");
    return text;
  }

  const Plot& plot_;
  Axis x_, y_;
};

}  // namespace

std::string plot_svg(const Plot& plot) {
  std::vector<double> xs, ys;
  for (const PlotSeries& series : plot.series) {
    for (const PlotPoint& point : series.points) {
      xs.push_back(point.x);
      ys.push_back(point.y);
    }
  }
  if (xs.empty()) return "";
  const Axis y = plot.y_axis ? *plot.y_axis : fitting_axis(ys, plot.y_scale);
  return Drawing(plot, fitting_axis(xs, plot.x_scale), y).svg();
}

std::string bars_svg(const std::string& title, const std::vector<StackedBar>& bars) {
  constexpr double kWidth = 400, kBarHeight = 16, kRow = 40, kFirst = 22;
  double largest = 0;
  for (const StackedBar& bar : bars) {
    double sum = 0;
    for (const StackedBar::Part& part : bar.parts) sum += part.size;
    largest = std::max(largest, sum);
  }
  if (largest <= 0) return "";
  std::string text = svg_begin(title, kWidth, kFirst + kRow * static_cast<double>(bars.size()));
  text += text_at(0, 14, "start", title, "title");
  double y = kFirst;
  for (const StackedBar& bar : bars) {
    text += text_at(0, y + 14, "start", shortened(bar.name, 44));
    text += text_at(kWidth, y + 14, "end", bar.value);
    double x = 0;
    for (const StackedBar::Part& part : bar.parts) {
      const double width = part.size / largest * kWidth;
      text += concat("<rect class=\"bar c", part.color % kColors, "\" x=\"", at(x), "\" y=\"",
                     at(y + 19), "\" width=\"", at(width), "\" height=\"", kBarHeight, "\"><title>",
                     html_text(part.tooltip), "</title></rect>\n");
      x += width;
    }
    y += kRow;
  }
  return text + "</svg>\n";
}

}  // namespace bitsmith
