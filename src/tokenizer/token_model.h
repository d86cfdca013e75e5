// What makes tokens of a word: BPE or a unigram model.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizer/vocabulary.h"

namespace bitsmith {

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  // Appends the ids of `word`, valid UTF-8. Thread-safe.
  virtual void encode(std::string_view word, std::vector<int32_t>& ids) const = 0;
  virtual const Vocabulary& vocabulary() const = 0;
};

}  // namespace bitsmith
