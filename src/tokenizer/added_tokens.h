// Tokens that are recognized as a whole in the text, before the model sees the rest: special tokens
// and others added to a vocabulary. The rules are those of Hugging Face tokenizers.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/byte_trie.h"
#include "tokenizer/parse_special.h"

namespace bitsmith {

struct AddedToken {
  int32_t id = -1;
  std::string content;
  bool special = false;      // a control token: left out on request, recognized on request
  bool single_word = false;  // only between characters that are not of a word
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // ... after it
  bool normalized = false;   // looked for in the normalized text, itself normalized
};

class AddedTokens {
 public:
  AddedTokens() = default;
  // `normalize` is applied to the contents of normalized tokens.
  AddedTokens(std::vector<AddedToken> tokens,
              const std::function<std::string(const std::string&)>& normalize);
  AddedTokens(const AddedTokens&) = delete;
  AddedTokens& operator=(const AddedTokens&) = delete;
  AddedTokens(AddedTokens&&) = default;
  AddedTokens& operator=(AddedTokens&&) = default;

  struct Piece {
    std::string_view text;
    const AddedToken* token;  // null: text between tokens
    bool at_start;            // begins where the input begins
  };
  // Cuts valid UTF-8 at the tokens that are looked for before (false) or after (true)
  // normalization: the leftmost, of those the longest. Special tokens found where parse_special
  // does not allow them are plain text.
  std::vector<Piece> split(std::string_view text, bool normalized,
                           ParseSpecial parse_special) const;

  const AddedToken* find(int32_t id) const;
  const AddedToken* find(std::string_view content) const;
  int32_t largest_id() const;  // -1 if there are none
  std::vector<std::string> special_contents() const;

 private:
  std::vector<AddedToken> tokens_;
  std::unordered_map<int32_t, int32_t> by_id_;  // -> index in tokens_
  std::unordered_map<std::string_view, int32_t> by_content_;
  ByteTrie raw_, normalized_;
};

}  // namespace bitsmith
