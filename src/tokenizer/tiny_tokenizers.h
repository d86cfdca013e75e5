// Tokenizers small enough to check by hand, for the tests.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "tokenizer/byte_level.h"

namespace bitsmith {

// Vocabulary of a byte-level BPE: ids 0..255 are the bytes, then one token a merge, in order.
inline Json byte_level_vocabulary(const std::vector<std::pair<std::string, std::string>>& merges) {
  Json vocabulary = Json::object();
  for (int byte = 0; byte < 256; ++byte)
    vocabulary[to_byte_level(std::string(1, static_cast<char>(byte)))] = byte;
  int id = 256;
  for (const auto& [left, right] : merges) vocabulary[left + right] = id++;
  return vocabulary;
}

// A tokenizer.json with those merges (given in the byte alphabet, "\u0120" for a space), GPT-2's
// words, and one special token <|end|> after the last merge.
inline Json byte_level_json(const std::vector<std::pair<std::string, std::string>>& merges) {
  Json pairs = Json::array();
  for (const auto& [left, right] : merges) pairs.push_back({left, right});
  Json json;
  json["added_tokens"] = {{{"id", 256 + merges.size()}, {"content", "<|end|>"}, {"special", true}}};
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  json["decoder"] = {{"type", "ByteLevel"}};
  json["model"] = {{"type", "BPE"}, {"vocab", byte_level_vocabulary(merges)}, {"merges", pairs}};
  return json;
}

inline const std::vector<std::pair<std::string, std::string>>& english_merges() {
  static const std::vector<std::pair<std::string, std::string>> merges = {
      {"t", "h"}, {"th", "e"}, {"\u0120", "the"}, {"a", "t"}, {"c", "at"}, {"\u0120", "cat"}};
  return merges;
}
constexpr int kTh = 256, kThe = 257, kSpaceThe = 258, kAt = 259, kCat = 260, kSpaceCat = 261,
              kEnd = 262;

// A BPE with spaces as U+2581 and bytes for what it does not know: <unk> <s> </s>, 256 bytes, then
// the given pieces and merges.
inline Json metaspace_json(const std::vector<std::string>& pieces,
                           const std::vector<std::pair<std::string, std::string>>& merges) {
  Json vocabulary = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  constexpr char kDigits[] = "0123456789ABCDEF";
  int id = 3;
  for (int byte = 0; byte < 256; ++byte)
    vocabulary[std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + ">"] = id++;
  for (const std::string& piece : pieces) vocabulary[piece] = id++;
  Json pairs = Json::array();
  for (const auto& [left, right] : merges) pairs.push_back({left, right});
  Json json;
  json["added_tokens"] = Json::array();
  for (const char* token : {"<unk>", "<s>", "</s>"})
    json["added_tokens"].push_back(
        {{"id", vocabulary[token]}, {"content", token}, {"special", true}});
  json["normalizer"] = {
      {"type", "Sequence"},
      {"normalizers",
       {{{"type", "Prepend"}, {"prepend", "\u2581"}},
        {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}}}}};
  json["pre_tokenizer"] = nullptr;
  json["decoder"] = {{"type", "Sequence"},
                     {"decoders",
                      {{{"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}},
                       {{"type", "ByteFallback"}},
                       {{"type", "Fuse"}},
                       {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}};
  json["model"] = {{"type", "BPE"},        {"vocab", vocabulary},   {"merges", pairs},
                   {"unk_token", "<unk>"}, {"byte_fallback", true}, {"fuse_unk", true}};
  return json;
}

}  // namespace bitsmith
