// The vocabulary by the tokens' bytes: which tokens does an automaton accept?
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace bitsmith {

// One bit a token.
using TokenSet = std::vector<uint64_t>;
inline void add_token(TokenSet& set, int32_t token) {
  set[static_cast<size_t>(token) / 64] |= uint64_t{1} << (token % 64);
}
inline void remove_token(TokenSet& set, int32_t token) {
  set[static_cast<size_t>(token) / 64] &= ~(uint64_t{1} << (token % 64));
}
inline bool has_token(const TokenSet& set, int32_t token) {
  return set[static_cast<size_t>(token) / 64] >> (token % 64) & 1;
}

// Without special tokens and those of no bytes. Immutable.
class TokenTrie {
 public:
  // A beginning of tokens. Nodes are in the order of a depth-first walk.
  struct Node {
    unsigned char byte;               // its last
    int32_t depth;                    // bytes, at least 1
    int32_t end;                      // index of the first node that does not begin so
    int32_t first_token, last_token;  // [first, last) of tokens(): those that are it
  };
  // What tokens are within a JSON string, between two of its characters.
  struct Ending {
    int32_t token;
    int32_t characters;  // before the quotation mark
  };
  struct Rest {
    std::string bytes;  // behind the quotation mark that ends the string
    std::vector<Ending> tokens;
  };

  explicit TokenTrie(const Tokenizer& tokenizer);

  int32_t vocab_size() const { return vocab_size_; }
  std::span<const Node> nodes() const { return nodes_; }
  std::span<const int32_t> tokens() const { return tokens_; }
  const std::string& bytes(int32_t token) const { return bytes_[static_cast<size_t>(token)]; }
  TokenSet empty_set() const { return TokenSet(static_cast<size_t>(vocab_size_ + 63) / 64); }

  // Tokens that a string may go on with, and how many characters each of them begins.
  const TokenSet& string_tokens() const { return string_tokens_; }
  int32_t string_characters(int32_t token) const {
    return string_characters_[static_cast<size_t>(token)];
  }
  int32_t most_string_characters() const { return most_string_characters_; }
  // Tokens that end a string, by what is behind its end.
  std::span<const Rest> string_ends() const { return string_ends_; }

 private:
  void read_tokens(const Tokenizer& tokenizer);
  void make_nodes();
  void run_strings();

  int32_t vocab_size_;
  std::vector<std::string> bytes_;  // [vocab_size]; empty: no token of the trie
  std::vector<int32_t> tokens_;     // by their bytes
  std::vector<Node> nodes_;
  TokenSet string_tokens_;
  std::vector<int32_t> string_characters_;
  int32_t most_string_characters_ = 0;
  std::vector<Rest> string_ends_;
};

}  // namespace bitsmith
