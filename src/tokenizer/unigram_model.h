// A unigram language model over pieces (Kudo 2018): of all ways to write a word in pieces the one
// with the highest sum of scores, found by Viterbi's algorithm.
#pragma once
#include <string>
#include <unordered_set>
#include <vector>

#include "tokenizer/byte_trie.h"
#include "tokenizer/token_model.h"

namespace bitsmith {

class UnigramModel final : public TokenModel {
 public:
  struct Parts {
    std::vector<std::string> tokens;
    std::vector<double> scores;  // [tokens] log probabilities
    int32_t unknown = 0;         // for characters that no piece covers; neighbors become one token
    bool byte_fallback = false;  // what is unknown as <0x..> tokens, where all of its bytes exist
    std::unordered_set<std::string> special;  // texts that are no pieces of a word
  };
  explicit UnigramModel(Parts parts);

  // O(bytes times the length of the longest token).
  void encode(std::string_view word, const Deadline& deadline,
              std::vector<int32_t>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  // Neighboring characters without pieces: together they may be a token after all.
  void append_unknown(std::string_view piece, std::vector<int32_t>& ids) const;

  Vocabulary vocabulary_;
  std::vector<double> scores_;
  std::unordered_set<std::string> special_;
  ByteTrie trie_;
  double unknown_score_ = 0;
  int32_t unknown_;
  bool byte_fallback_;
};

}  // namespace bitsmith
