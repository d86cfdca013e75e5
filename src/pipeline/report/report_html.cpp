#include "pipeline/report/report_html.h"

#include "base/error.h"
#include "pipeline/report/html_text.h"
#include "pipeline/report/report_style.h"

namespace bitsmith {
namespace {

std::string warning_items(const ReportedModel& model) {
  std::string items;
  for (const std::string& warning : model.warnings) {
    items += concat("<li><strong>", html_text(shortened(model.name, 100)),
                    "</strong>: ", html_text(shortened(warning, 1000)), "</li>\n");
  }
  return items;
}

std::string row_of(const std::vector<std::string>& cells, const char* tag) {
  std::string row = "<tr>";
  for (const std::string& cell : cells) row += concat("<", tag, ">", cell, "</", tag, ">");
  return row + "</tr>\n";
}

std::string introduction(const ReportData& data) {
  std::string originals;
  for (const ReportedModel& original : data.originals) {
    if (!original.name.empty())
      originals += (originals.empty() ? "" : ", ") + html_text(shortened(original.name, 100));
  }
  const size_t count = data.results.size();
  return concat("<p class=\"dim\">", count, count == 1 ? " result" : " results",
                originals.empty() ? "" : " made from ", originals, "</p>\n");
}

}  // namespace

std::string section(const std::string& heading, const std::string& content) {
  if (content.empty()) return "";
  return concat("<section>\n<h2>", html_text(heading), "</h2>\n", content, "</section>\n");
}

std::string html_table(const std::vector<std::vector<std::string>>& rows) {
  std::string table =
      "<div class=\"scroll\"><table>\n<thead>" + row_of(rows[0], "th") + "</thead>\n<tbody>\n";
  for (size_t i = 1; i < rows.size(); ++i) table += row_of(rows[i], "td");
  return table + "</tbody>\n</table></div>\n";
}

std::string color_legend(const std::vector<std::string>& names) {
  std::string legend = "<ul class=\"legend\">";
  for (size_t i = 0; i < names.size(); ++i) {
    legend += concat("<li><i class=\"c", i % 8, i >= 8 ? " hollow" : "", "\"></i>",
                     html_text(shortened(names[i], 100)), "</li>");
  }
  return legend + "</ul>\n";
}

std::string warnings_section(const ReportData& data) {
  std::string items;
  for (const ReportedModel& original : data.originals) items += warning_items(original);
  for (const ReportedResult& result : data.results) items += warning_items(result);
  if (items.empty()) return "";
  return "<section class=\"warnings\">\n<h2>Warnings</h2>\n<ul>\n" + items + "</ul>\n</section>\n";
}

std::string report_html(const ReportData& data) {
  return concat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">\n<title>Bitsmith report</title>\n<style>",
      kReportStyle, "</style>\n</head>\n<body>\n<main>\n<h1>Bitsmith report</h1>\n",
      introduction(data), warnings_section(data), results_section(data), kl_section(data),
      bytes_section(data), errors_section(data), gap_section(data), tuning_section(data),
      generations_section(data), tasks_section(data), recipes_section(data),
      "</main>\n</body>\n</html>\n");
}

}  // namespace bitsmith
