// A task's requests as tokens, as lm-evaluation-harness makes them (docs/evaluation.md).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "evaluate/tasks/task.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {

struct TokenRequest {
  std::vector<int32_t> tokens;  // the context's; then those of the whole text from there on
  int64_t judged = 0;           // the latter: this many at the end, > 0, not all
};

class RequestEncoder {
 public:
  // Special tokens that a prompt spells out are parsed. `bos` unset: the tokenizer adds what it
  // adds to any text; else BOS alone is there or not, and the tokenizer must have one. What a
  // context of that many tokens does not hold is cut off on the left (the last token is only
  // predicted and needs no place). The tokenizer outlives this.
  RequestEncoder(const Tokenizer& tokenizer, int64_t context, std::optional<bool> bos);

  // Throws Error that begins with `place` for a continuation without tokens or longer than the
  // context.
  std::vector<TokenRequest> encode(const TaskItem& item, const std::string& place) const;

 private:
  std::vector<int32_t> encode_text(std::string_view text) const;

  const Tokenizer& tokenizer_;
  int64_t context_;
  std::optional<bool> bos_;
  std::string prefix_;  // a text that begins with it gets no special tokens
};

}  // namespace bitsmith
