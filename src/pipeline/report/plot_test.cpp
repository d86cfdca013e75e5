#include "pipeline/report/plot.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string_view>

namespace bitsmith {
namespace {

int count(std::string_view text, std::string_view part) {
  int found = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
  return found;
}

Plot two_series() {
  Plot plot{.title = "KL <b>", .x_title = "MB", .y_title = "KL"};
  plot.series.push_back({.name = "one & two", .color = 0, .points = {{1, 0.1}, {2, 0.2}, {3, 3}}});
  plot.series.push_back(
      {.name = "<script>", .color = 9, .line = false, .named = true, .points = {{2, 0.5}}});
  return plot;
}

TEST(PlotSvg, ShowsEveryPointAndName) {
  const std::string svg = plot_svg(two_series());
  EXPECT_EQ(count(svg, "<circle"), 4);
  EXPECT_EQ(count(svg, "<polyline"), 1);
  EXPECT_EQ(count(svg, "<g class=\"c0\">"), 1);
  EXPECT_EQ(count(svg, "<g class=\"c1 hollow\">"), 1);
  EXPECT_EQ(count(svg, "class=\"name\">&lt;script&gt;</text>"), 1);
  EXPECT_EQ(count(svg, "one &amp; two"), 4);  // of the series and its points
  EXPECT_EQ(count(svg, "<script"), 0);
  EXPECT_EQ(count(svg, "<b>"), 0);
  EXPECT_EQ(count(svg, "nan"), 0);
  EXPECT_EQ(count(svg, "inf"), 0);
}

TEST(PlotSvg, IsEmptyWithoutPoints) {
  EXPECT_EQ(plot_svg({}), "");
  EXPECT_EQ(plot_svg({.series = {{.name = "a"}}}), "");
}

TEST(PlotSvg, DrawsASinglePoint) {
  const std::string svg = plot_svg({.series = {{.name = "a", .points = {{0, 0}}}}});
  EXPECT_EQ(count(svg, "<circle"), 1);
  EXPECT_EQ(count(svg, "nan"), 0);
}

TEST(PlaceLabels, DoNotOverlapWhereThereIsRoom) {
  std::vector<LabeledPoint> points;
  for (int i = 0; i < 6; ++i) points.push_back({200.0 + i, 150.0 + 2 * i, 100});
  points.push_back({395, 20, 100});  // no room on its right
  const std::vector<LabelPlace> places = place_labels(points, 400, 260);
  ASSERT_EQ(places.size(), points.size());
  for (size_t i = 0; i < places.size(); ++i) {
    EXPECT_GE(places[i].x, 0);
    EXPECT_LE(places[i].x + points[i].text_width, 400);
    for (size_t j = 0; j < i; ++j) {
      const bool apart =
          std::abs(places[i].y - places[j].y) >= 12 || std::abs(places[i].x - places[j].x) >= 100;
      EXPECT_TRUE(apart) << i << " and " << j;
    }
  }
  EXPECT_LT(places.back().x, 395);
}

TEST(PlaceLabels, PrefersTheRightSide) {
  const auto places = place_labels({{50, 50, 40}}, 400, 300);
  EXPECT_GT(places[0].x, 50);
  EXPECT_NEAR(places[0].y, 50, 8);
  EXPECT_TRUE(place_labels({}, 400, 300).empty());
  EXPECT_EQ(place_labels({{50, 50, 1000}}, 400, 300)[0].x, 0);  // wider than the plot
}

TEST(BarsSvg, DividesEachBar) {
  const std::string svg =
      bars_svg("bytes", {{"a", "4 MB", {{"codes: 3 MB", 0, 3}, {"scales: 1 MB", 1, 1}}},
                         {"b", "2 MB", {{"codes: 2 MB", 0, 2}}}});
  EXPECT_EQ(count(svg, "<rect"), 3);
  EXPECT_EQ(count(svg, "width=\"300.0\""), 1);
  EXPECT_EQ(count(svg, "width=\"100.0\""), 1);
  EXPECT_EQ(count(svg, "width=\"200.0\""), 1);
  EXPECT_EQ(bars_svg("bytes", {}), "");
  EXPECT_EQ(bars_svg("bytes", {{"a", "", {{"", 0, 0}}}}), "");
}

}  // namespace
}  // namespace bitsmith
