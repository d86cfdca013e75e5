// What makes tokens of a word: BPE or a unigram model.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/deadline.h"
#include "tokenizer/vocabulary.h"

namespace bitsmith {

// A look at the clock takes as long as a step of a model.
inline constexpr size_t kStepsBetweenChecks = 256;

// Throws Error for a text in which positions of 32 bits do not reach everywhere.
void check_text_size(std::string_view text);

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  // Appends the ids of `word`, valid UTF-8. Throws DeadlineError. Thread-safe.
  virtual void encode(std::string_view word, const Deadline& deadline,
                      std::vector<int32_t>& ids) const = 0;
  virtual const Vocabulary& vocabulary() const = 0;
};

}  // namespace bitsmith
