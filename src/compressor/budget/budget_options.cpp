#include "compressor/budget/budget_options.h"

#include <algorithm>

namespace bitsmith {
namespace {

CandidateList list_of(std::initializer_list<const char*> texts) {
  CandidateList list;
  for (const char* text : texts) list.specs.push_back(parse_representation(text));
  return list;
}

}  // namespace

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
