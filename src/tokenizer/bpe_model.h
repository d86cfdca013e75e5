// Byte-pair encoding of one word (Sennrich et al. 2016): start from its characters, merge the
// neighbors of the lowest rank until no merge is left.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "tokenizer/token_model.h"

namespace bitsmith {

struct BpeOptions {
  std::optional<int32_t> unknown;  // for characters outside the vocabulary; without it they vanish
  bool fuse_unknown = false;       // neighboring unknown characters become one token
  bool byte_fallback = false;      // characters outside the vocabulary as <0x..> tokens
  bool ignore_merges = false;      // a whole word of the vocabulary is its token
  std::unordered_set<std::string> special = {};  // texts that no word and no merge becomes
};

class BpeModel final : public TokenModel {
 public:
  using Merges = std::vector<std::pair<std::string, std::string>>;
  // `merges` in order of rank. Throws Error naming `source` if a part or the result of one is not
  // in the vocabulary.
  BpeModel(Vocabulary vocabulary, const Merges& merges, BpeOptions options,
           const std::string& source);

  // Appends the ids of `word`, valid UTF-8. O(n log n). Thread-safe.
  void encode(std::string_view word, const Deadline& deadline,
              std::vector<int32_t>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  struct Merge {
    uint32_t rank;
    int32_t id;
  };
  const Merge* find_merge(int32_t left, int32_t right) const;
  std::vector<int32_t> initial_symbols(std::string_view word) const;

  Vocabulary vocabulary_;
  BpeOptions options_;
  std::unordered_map<uint64_t, Merge> merges_;  // left << 32 | right
};

}  // namespace bitsmith
