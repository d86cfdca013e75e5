#include "pipeline/report/report.h"

#include "base/error.h"
#include "base/files.h"
#include "format/output_exists.h"
#include "pipeline/report/read_report.h"
#include "pipeline/report/report_html.h"

namespace bitsmith {
namespace {

void check_page(const std::filesystem::path& out, bool force) {
  const auto status = std::filesystem::symlink_status(out);
  if (!std::filesystem::exists(status)) return;
  if (std::filesystem::is_directory(std::filesystem::status(out)))
    throw UsageError(out.string() + " is a folder: give the page a name, as report.html");
  if (!force) throw OutputExists(out.string() + " exists; give another name");
}

}  // namespace

ReportOutcome write_report(const ReportJob& job) {
  check_page(job.out, job.force);
  const ReportData data = read_report(job.results, job.judgments);
  const std::string page = report_html(data);
  write_file_atomic(job.out, page);
  ReportOutcome outcome;
  outcome.bytes = page.size();
  const auto add_warnings = [&](const ReportedModel& model) {
    for (const std::string& warning : model.warnings)
      outcome.warnings.push_back(concat(model.name, ": ", warning));
  };
  for (const ReportedModel& original : data.originals) add_warnings(original);
  for (const ReportedResult& result : data.results) {
    outcome.results.push_back(result.name);
    add_warnings(result);
  }
  return outcome;
}

}  // namespace bitsmith
