// SentencePiece's table of normalization rules (`precompiled_charsmap`): a trie of texts, each with
// its replacement.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/stretches.h"

namespace bitsmith {

class Charsmap {
 public:
  // `bytes`: the trie's size in bytes (32 bits, little-endian), the trie (a double array), the
  // replacements with a zero after each. Throws Error naming `source`.
  Charsmap(std::string_view bytes, const std::string& source);

  // As Hugging Face tokenizers does: a grapheme of fewer than six bytes is replaced as a whole by
  // the rule of its shortest beginning that has one, other characters one by one.
  std::string apply(std::string_view text, Stretches& stretches) const;

 private:
  std::optional<std::string_view> find(std::string_view text) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace bitsmith
