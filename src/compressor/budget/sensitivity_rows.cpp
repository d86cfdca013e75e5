#include "compressor/budget/sensitivity_rows.h"

#include <algorithm>
#include <fstream>
#include <string_view>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRowBegins = "{\"request\":";

// What a killed run may have written of a row.
bool may_be_unfinished(std::string_view line) {
  const size_t known = std::min(line.size(), kRowBegins.size());
  return line.substr(0, known) == kRowBegins.substr(0, known);
}

}  // namespace

SensitivityRows::SensitivityRows(fs::path path, OrderedJson facts)
    : path_(std::move(path)), facts_(std::move(facts)), request_hash_(sha256(facts_.dump())) {
  if (!std::ofstream(path_, std::ios::app))
    throw Error("cannot write measurements to " + path_.string());
  const std::string text = read_text_file(path_);
  const size_t whole = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
  const std::string source = path_.string();
  for (size_t begin = 0; begin < whole;) {
    const size_t end = text.find('\n', begin);
    const Json line = parse_json(text.substr(begin, end - begin), source);
    begin = end + 1;
    const auto request = json_get<std::string>(line, "request", source);
    const bool tells_facts = line.contains("facts");
    if (request != request_hash_) {
      Json& other = others_[request];
      if (tells_facts) other = line.at("facts");
      continue;
    }
    facts_are_there_ |= tells_facts;
    if (tells_facts) continue;
    SensitivityRow row = {json_get<std::string>(line, "unit", source),
                          json_get<std::string>(line, "representation", source),
                          json_get<double>(line, "relative_error", source),
                          {}};
    if (line.contains("kl")) row.kl = json_get<double>(line, "kl", source);
    rows_[{row.unit, row.representation}] = row;
  }
  if (whole == text.size()) return;
  if (!may_be_unfinished(std::string_view(text).substr(whole)))
    throw Error(source + " has lines that are no measurements: give another file");
  fs::resize_file(path_, whole);
}

std::string SensitivityRows::why_unused() const {
  if (!rows_.empty() || others_.empty()) return "";
  std::vector<std::string> fewest;
  for (const auto& [hash, other] : others_) {
    std::vector<std::string> differ;
    for (const auto& [key, value] : facts_.items()) {
      if (!other.is_object() || !other.contains(key) || other.at(key) != Json(value))
        differ.push_back(key);
    }
    if (!other.is_object()) differ = {"version"};
    if (fewest.empty() || differ.size() < fewest.size()) fewest = differ;
  }
  std::string text;
  for (const std::string& key : fewest) text += concat(text.empty() ? "" : ", ", key);
  return text;
}

const SensitivityRow* SensitivityRows::find(const std::string& unit,
                                            const std::string& representation) const {
  const auto found = rows_.find({unit, representation});
  return found == rows_.end() ? nullptr : &found->second;
}

void SensitivityRows::add(const SensitivityRow& row) {
  OrderedJson line = {{"request", request_hash_},
                      {"unit", row.unit},
                      {"representation", row.representation},
                      {"relative_error", row.relative_error}};
  if (row.kl) line["kl"] = *row.kl;
  std::ofstream file(path_, std::ios::app | std::ios::binary);
  if (!facts_are_there_) {
    file << OrderedJson{{"request", request_hash_}, {"facts", facts_}}.dump() + "\n";
    facts_are_there_ = true;
  }
  file << line.dump() + "\n";
  file.flush();
  if (!file) throw Error("cannot write " + path_.string());
  rows_[{row.unit, row.representation}] = row;
}

}  // namespace bitsmith
