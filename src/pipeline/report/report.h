// What `bitsmith report` does: results and their judgments on one page.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace bitsmith {

struct ReportJob {
  std::vector<std::filesystem::path> results;    // directories that Bitsmith made
  std::vector<std::filesystem::path> judgments;  // outputs of `bitsmith eval --json` on them
  std::filesystem::path out;                     // the page
  bool force = false;                            // replace an existing file
};

struct ReportOutcome {
  std::vector<std::string> results;  // as the page names them
  std::vector<std::string> warnings;
  uint64_t bytes = 0;  // of the page
};

// The page appears whole. Throws OutputExists, UsageError and Error (read_report.h).
ReportOutcome write_report(const ReportJob& job);

}  // namespace bitsmith
