// What an answer's tokens are held to.
#pragma once
#include <cstdint>
#include <span>

namespace bitsmith {

// Of one answer, from its first token on. One thread at a time.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  // The logits [vocab_size] of tokens that may not come next become minus infinity. Throws Error
  // where none is left.
  virtual void restrict(std::span<float> logits) = 0;
  // Takes the next token of the answer, which restrict() allowed; no end token.
  virtual void advance(int32_t token) = 0;
  // Nothing may follow: the answer is complete, or took a token that was not allowed.
  virtual bool finished() const = 0;
};

}  // namespace bitsmith
