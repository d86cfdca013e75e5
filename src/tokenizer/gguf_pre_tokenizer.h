// How the models of a `tokenizer.ggml.pre` cut text into words: one table. A new name is one row of
// it, or one word in a row.
#pragma once
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace bitsmith {

// The parts are written as in a tokenizer.json: what reads a GGUF and what it is exported as are
// one thing.
struct GgufPreTokenizer {
  static constexpr size_t kMaxSteps = 6;

  const char* names;  // values of tokenizer.ggml.pre, with a space between
  // Patterns whose matches are words of their own, each applied to the pieces that the one before
  // left. Linear in the length of a text.
  std::array<const char*, kMaxSteps> patterns;
  bool nfc = false;            // the models' own tokenizer normalizes, so we do
  bool ignore_merges = false;  // a word that is a token is taken whole
  bool add_bos = false;        // where the file does not say

  Json normalizer() const;     // null: none
  Json pre_tokenizer() const;  // bytes become characters in its last step, or at kAsBytes
};

// null: unknown.
const GgufPreTokenizer* find_gguf_pre_tokenizer(std::string_view name);
// All names, in the order of the table.
std::vector<std::string> gguf_pre_tokenizer_names();

}  // namespace bitsmith
