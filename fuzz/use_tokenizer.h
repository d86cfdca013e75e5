// What every tokenizer must do with any text.
#pragma once
#include <cstdlib>
#include <string_view>

#include "tokenizer/tokenizer.h"

namespace bitsmith {

inline constexpr std::string_view kFuzzTexts[] = {
    "Hello  w\u00F6rld 123\n\t\u2581<s> don't \xFF\xE2\x82 \U0001F600!",
    "e\u0301 A\u030A ab ba aab", ""};

// Ids are of the vocabulary, have bytes and decode.
inline void use_tokenizer(const Tokenizer& tokenizer, std::string_view text) {
  const auto ids = tokenizer.encode(text);
  for (const int32_t id : ids) {
    if (id < 0 || id >= tokenizer.vocab_size()) std::abort();
    tokenizer.token_bytes(id);
  }
  tokenizer.decode(ids, true);
  tokenizer.decode(ids);
}

}  // namespace bitsmith
