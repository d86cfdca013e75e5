// ReportData -> one HTML page that needs nothing else: no scripts, no files, no network.
#pragma once
#include <string>

#include "pipeline/report/report_data.h"

namespace bitsmith {

// The same for the same data: no times, no paths.
std::string report_html(const ReportData& data);

// Its parts; empty where there is nothing to show.
std::string warnings_section(const ReportData& data);
std::string results_section(const ReportData& data);
std::string kl_section(const ReportData& data);
std::string bytes_section(const ReportData& data);
std::string errors_section(const ReportData& data);
std::string gap_section(const ReportData& data);
std::string tuning_section(const ReportData& data);
std::string generations_section(const ReportData& data);
std::string tasks_section(const ReportData& data);
std::string recipes_section(const ReportData& data);

// A part of the page under a heading; empty where the content is.
std::string section(const std::string& heading, const std::string& content);
// Rows of cells that are HTML already; the first row is the head. Scrolls sideways on small
// screens.
std::string html_table(const std::vector<std::vector<std::string>>& rows);
// Names of results with their colors.
std::string color_legend(const std::vector<std::string>& names);

}  // namespace bitsmith
