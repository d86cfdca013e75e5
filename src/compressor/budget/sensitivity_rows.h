// What was measured of each unit and candidate, in a file.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace bitsmith {

struct SensitivityRow {
  std::string unit, representation;
  double relative_error = 0;  // of the unit's outputs, see measure_sensitivity()
  std::optional<double> kl;   // with this unit alone quantized; none: not measured
};

// A file of rows, a JSON object a line, each with the hash of the request that it belongs to; a
// line before the first row of a request has its facts. A row is appended when it is there, so that
// a run that was killed loses at most the one it worked on.
class SensitivityRows {
 public:
  // `facts`: an object of all that the measurements hang on. Reads the rows of the same facts;
  // those of other requests stay in the file. An unfinished last line, a killed run's, is removed.
  // Error for lines that are no rows, with the file as it was, and where none can be added.
  SensitivityRows(std::filesystem::path path, OrderedJson facts);

  // Where the file has rows, but none of these facts: the keys of those that differ from the
  // nearest request's, as "model, data"; "version" where the file does not tell its facts. Else
  // empty.
  std::string why_unused() const;

  const SensitivityRow* find(const std::string& unit, const std::string& representation) const;
  // Keeps a row, in place of one that is there.
  void add(const SensitivityRow& row);

 private:
  std::filesystem::path path_;
  OrderedJson facts_;
  std::string request_hash_;            // of the facts
  bool facts_are_there_ = false;        // in the file
  std::map<std::string, Json> others_;  // facts of other requests by hash; null: not told
  std::map<std::pair<std::string, std::string>, SensitivityRow> rows_;
};

}  // namespace bitsmith
