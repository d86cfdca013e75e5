// What was measured of each unit and candidate, in a file.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bitsmith {

struct SensitivityRow {
  std::string unit, representation;
  double relative_error = 0;  // of the unit's outputs, see measure_sensitivity()
  std::optional<double> kl;   // with this unit alone quantized; none: not measured
};

// A file of rows, a JSON object a line, each with the hash of the request that it belongs to. A row
// is appended when it is there, so that a run that was killed loses at most the one it worked on.
class SensitivityRows {
 public:
  // Reads the rows of `request_hash`; those of other requests stay in the file. An unfinished last
  // line, a killed run's, is removed. Error for lines that are no rows, with the file as it was,
  // and where none can be added.
  SensitivityRows(std::filesystem::path path, std::string request_hash);

  const SensitivityRow* find(const std::string& unit, const std::string& representation) const;
  // Keeps a row, in place of one that is there.
  void add(const SensitivityRow& row);

 private:
  std::filesystem::path path_;
  std::string request_hash_;
  std::map<std::pair<std::string, std::string>, SensitivityRow> rows_;
};

}  // namespace bitsmith
