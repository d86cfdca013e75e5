#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>

#include "base/error.h"
#include "base/log.h"
#include "pipeline/report/html_text.h"
#include "pipeline/report/plot.h"
#include "pipeline/report/report_html.h"

namespace bitsmith {
namespace {

std::vector<std::string> result_names(const ReportData& data) {
  std::vector<std::string> names;
  for (const ReportedResult& result : data.results) names.push_back(result.name);
  return names;
}

std::string figure(const std::string& svg, const std::string& caption) {
  return concat("<figure>\n", svg, "<figcaption>", html_text(caption),
                "</figcaption>\n</figure>\n");
}

std::string plots(const std::string& svgs, const char* style = "") {
  return svgs.empty() ? "" : concat("<div class=\"plots", style, "\">\n", svgs, "</div>\n");
}

// A text under a protocol: what one plot compares.
std::string protocol_of(const ReportedText& text) { return text.text + ", " + text.protocol; }

// "layers.3.mlp.experts.7.up_proj" -> 3, "experts.up_proj": the first number is the block's.
struct MatrixPlace {
  int64_t block = -1;  // -1: of no block
  std::string kind;    // the last two words that are no numbers
};
MatrixPlace place_of(const std::string& module) {
  MatrixPlace place;
  std::vector<std::string> words = {""};
  for (const char c : module) {
    if (c == '.') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  std::vector<std::string> names;
  for (const std::string& word : words) {
    const bool number = !word.empty() && word.size() < 10 &&
                        std::ranges::all_of(word, [](char c) { return c >= '0' && c <= '9'; });
    if (!number) names.push_back(word);
    if (number && place.block < 0) place.block = std::stoll(word);
  }
  for (size_t i = names.size() > 2 ? names.size() - 2 : 0; i < names.size(); ++i)
    place.kind += (place.kind.empty() ? "" : ".") + names[i];
  return place;
}

// Kind -> block -> mean relative error; experts of a block are one point.
using ErrorCurves = std::map<std::string, std::map<int64_t, double>>;
ErrorCurves error_curves(const ReportedResult& result) {
  ErrorCurves curves;
  std::map<std::string, std::map<int64_t, int64_t>> counts;
  for (const ReportedMatrix& matrix : result.matrices) {
    const MatrixPlace place = place_of(matrix.module);
    if (place.block < 0) continue;
    const auto count = static_cast<double>(++counts[place.kind][place.block]);
    double& mean = curves[place.kind][place.block];
    mean += (matrix.relative_error - mean) / count;
  }
  return curves;
}

std::string worst_matrices(const ReportedResult& result) {
  constexpr size_t kRows = 10;
  std::vector<ReportedMatrix> sorted = result.matrices;
  if (sorted.empty()) return "";
  std::ranges::stable_sort(sorted, std::greater(), &ReportedMatrix::relative_error);
  sorted.resize(std::min(sorted.size(), kRows));
  std::vector<std::vector<std::string>> rows = {
      {"matrix", "representation", "method", "relative error", "bits a weight"}};
  for (const ReportedMatrix& matrix : sorted) {
    char numbers[2][40];
    std::snprintf(numbers[0], sizeof(numbers[0]), "%.3g", matrix.relative_error);
    std::snprintf(numbers[1], sizeof(numbers[1]), "%.3f", matrix.bits);
    rows.push_back({html_text(shortened(matrix.module, 100)),
                    html_text(shortened(matrix.representation, 60)),
                    html_text(shortened(matrix.method, 20)), numbers[0], numbers[1]});
  }
  return concat("<details><summary>largest errors of ", html_text(shortened(result.name, 100)),
                "</summary>\n", html_table(rows), "</details>\n");
}

// Uses in the order in which results name them first.
std::vector<std::string> uses_of(const ReportData& data,
                                 std::vector<ReportedBytes> ReportedResult::*member) {
  std::vector<std::string> uses;
  for (const ReportedResult& result : data.results)
    for (const ReportedBytes& spent : result.*member)
      if (std::ranges::find(uses, spent.use) == uses.end()) uses.push_back(spent.use);
  return uses;
}

std::string byte_bars(const ReportData& data, const std::string& title,
                      std::vector<ReportedBytes> ReportedResult::*member) {
  const std::vector<std::string> uses = uses_of(data, member);
  std::vector<StackedBar> bars;
  for (const ReportedResult& result : data.results) {
    const auto whole = static_cast<double>(result.file_bytes);
    StackedBar& bar = bars.emplace_back(StackedBar{result.name, format_megabytes(whole), {}});
    for (const ReportedBytes& spent : result.*member) {
      const auto bytes = static_cast<double>(spent.bytes);
      char share[40];
      std::snprintf(share, sizeof(share), " (%.1f %%)", 100 * bytes / whole);
      bar.parts.push_back({concat(spent.use, ": ", format_megabytes(bytes), share),
                           static_cast<int>(std::ranges::find(uses, spent.use) - uses.begin()),
                           bytes});
    }
  }
  const std::string svg = bars_svg(title, bars);
  return svg.empty() ? "" : "<div>\n" + svg + color_legend(uses) + "</div>\n";
}

std::string byte_table(const ReportData& data) {
  std::vector<std::vector<std::string>> rows = {{"result, MB"}};
  for (const auto member : {&ReportedResult::places, &ReportedResult::parts})
    for (const std::string& use : uses_of(data, member)) rows[0].push_back(html_text(use));
  for (const ReportedResult& result : data.results) {
    rows.push_back({html_text(shortened(result.name, 100))});
    for (const auto member : {&ReportedResult::places, &ReportedResult::parts}) {
      for (const std::string& use : uses_of(data, member)) {
        const auto found = std::ranges::find(result.*member, use, &ReportedBytes::use);
        char text[40] = "&#8211;";
        if (found != (result.*member).end())
          std::snprintf(text, sizeof(text), "%.3g", static_cast<double>(found->bytes) * 1e-6);
        rows.back().push_back(text);
      }
    }
  }
  return "<details><summary>as a table</summary>\n" + html_table(rows) + "</details>\n";
}

}  // namespace

std::string kl_section(const ReportData& data) {
  std::map<std::string, Plot> by_protocol;
  for (size_t i = 0; i < data.results.size(); ++i) {
    const ReportedResult& result = data.results[i];
    for (const ReportedText& text : result.texts) {
      if (!text.kl) continue;
      Plot& plot = by_protocol[protocol_of(text)];
      plot.title = "KL on " + shortened(text.text, 30);
      plot.x_title = "file, MB";
      plot.y_title = "nats a token";
      plot.series.push_back(
          {.name = result.name,
           .color = static_cast<int>(i),
           .line = false,
           .named = true,
           .points = {{static_cast<double>(result.file_bytes) * 1e-6, text.kl->value}}});
    }
  }
  std::string svgs;
  for (const auto& [protocol, plot] : by_protocol)
    svgs += figure(plot_svg(plot), shortened(protocol, 200));
  if (svgs.empty()) return "";
  std::string sizes;
  for (const ReportedModel& original : data.originals) {
    if (original.file_bytes > 0) {
      sizes +=
          concat("<p class=\"dim\">The original ", html_text(shortened(original.name, 100)),
                 " has ", format_megabytes(static_cast<double>(original.file_bytes)), ".</p>\n");
    }
  }
  return section("KL against megabytes", sizes + plots(svgs));
}

std::string errors_section(const ReportData& data) {
  std::map<std::string, Plot> by_kind;
  std::vector<double> all;
  for (size_t i = 0; i < data.results.size(); ++i) {
    for (const auto& [kind, curve] : error_curves(data.results[i])) {
      PlotSeries series{.name = data.results[i].name, .color = static_cast<int>(i)};
      for (const auto& [block, error] : curve) {
        series.points.push_back({static_cast<double>(block), error});
        all.push_back(error);
      }
      Plot& plot = by_kind[kind];
      plot.title = shortened(kind, 40);
      plot.x_title = "block";
      plot.x_scale = AxisScale::kWhole;
      plot.width = 270;
      plot.height = 190;
      plot.series.push_back(std::move(series));
    }
  }
  if (all.empty()) return "";
  std::string svgs, worst;
  for (auto& [kind, plot] : by_kind) {
    plot.y_axis = fitting_axis(all, AxisScale::kLogWhereWide, 5);  // one scale for all
    svgs += plot_svg(plot);
  }
  for (const ReportedResult& result : data.results) worst += worst_matrices(result);
  return section("Relative error of each matrix",
                 "<p class=\"dim\">Of the one-shot quantization, before any tuning: the share of a "
                 "matrix's output energy on the calibration data that is lost.</p>\n" +
                     color_legend(result_names(data)) + plots(svgs, " small") + worst);
}

std::string tuning_section(const ReportData& data) {
  Plot plot{.title = "KL while tuning", .x_title = "training tokens", .y_title = "nats a token"};
  for (size_t i = 0; i < data.results.size(); ++i) {
    const ReportedResult& result = data.results[i];
    PlotSeries held_out{.name = result.name, .color = static_cast<int>(i)};
    PlotSeries training{
        .name = result.name + ", training", .color = static_cast<int>(i), .dashed = true};
    for (const ReportedValidation& v : result.validations) {
      held_out.points.push_back({static_cast<double>(v.tokens), v.kl});
      if (v.training_kl) training.points.push_back({static_cast<double>(v.tokens), *v.training_kl});
    }
    plot.series.push_back(std::move(held_out));
    plot.series.push_back(std::move(training));
  }
  const std::string svg = plot_svg(plot);
  if (svg.empty()) return "";
  return section("Tuning",
                 "<p class=\"dim\">Solid: on the windows held out; dashed: on the training "
                 "windows, mean since the last validation. The state with the least KL is "
                 "kept.</p>\n" +
                     color_legend(result_names(data)) + plots(svg));
}

std::string bytes_section(const ReportData& data) {
  if (uses_of(data, &ReportedResult::places).empty()) return "";
  return section("What the bytes are spent on",
                 plots(byte_bars(data, "by place", &ReportedResult::places) +
                       byte_bars(data, "by part", &ReportedResult::parts)) +
                     byte_table(data));
}

}  // namespace bitsmith
