#include "compressor/budget/budget_options.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "base/error.h"

namespace bitsmith {
namespace {

struct Unit {
  const char* name;
  double bytes;
};
constexpr Unit kUnits[] = {{"", 1},       {"B", 1},         {"kB", 1e3},
                           {"KB", 1e3},   {"MB", 1e6},      {"GB", 1e9},
                           {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}};

constexpr double kLargestSize = 1e15;

CandidateList list_of(std::initializer_list<const char*> texts) {
  CandidateList list;
  for (const char* text : texts) list.specs.push_back(parse_representation(text));
  return list;
}

}  // namespace

std::string option_text(const ByteSize& size) {
  constexpr std::pair<uint64_t, const char*> kRound[] = {{1'000'000, "MB"}, {1000, "kB"}};
  for (const auto& [bytes, name] : kRound) {
    if (size.bytes > 0 && size.bytes % bytes == 0) return concat(size.bytes / bytes, name);
  }
  return std::to_string(size.bytes);
}

void parse_option(const std::string& text, ByteSize& size) {
  const size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string digits = text.substr(0, end), unit_name = text.substr(end);
  char* parsed = nullptr;
  const double number = std::strtod(digits.c_str(), &parsed);
  for (const Unit& unit : kUnits) {
    if (digits.empty() || *parsed != 0 || unit_name != unit.name) continue;
    const double bytes = number * unit.bytes;
    if (!(bytes >= 1 && bytes <= kLargestSize)) break;
    size.bytes = static_cast<uint64_t>(std::llround(bytes));
    return;
  }
  throw UsageError(
      concat("'", excerpt(text), "' is no size: give a number and a unit, as 48MB or 1.5GiB"));
}

std::string option_text(const CandidateList& list) {
  std::string text;
  for (const RepresentationSpec& spec : list.specs)
    text.append(text.empty() ? "" : ",").append(to_string(spec));
  return text;
}

void parse_option(const std::string& text, CandidateList& list) {
  list.specs.clear();
  for (size_t begin = 0; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    list.specs.push_back(parse_representation(text.substr(begin, comma - begin)));
    begin = comma + 1;
  }
}

CandidateList block_candidates() {
  return list_of({"aq1x8g8", "aq2x6g8", "aq2x8g8", "gvq2d2.5b-s32", "gvq2d3b-s32", "gvq1d4b-s32",
                  "int6g64", "int8g64"});
}

CandidateList embedding_candidates(int64_t weights) {
  CandidateList list =
      list_of({"gvq2d3b-s32", "int3g32", "gvq1d4b-s32", "int4g32", "int6g64", "int8g64"});
  if (weights > kWholeEmbeddingWeights)
    std::erase_if(list.specs, [](const auto& spec) { return !rows_stand_alone(spec); });
  return list;
}

}  // namespace bitsmith
