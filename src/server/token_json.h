// Tokens and their log-probabilities in the forms of OpenAI's API.
#pragma once
#include <optional>
#include <span>
#include <string>

#include "base/json.h"
#include "runtime/token_probabilities.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {

// Like Tokenizer::token_bytes, but nothing for an id that the model has and the tokenizer has not:
// a prompt may name such rows.
std::string token_bytes(const Tokenizer& tokenizer, int32_t token);
// A token as text; one that is no whole characters as "bytes:\xE2\x82".
std::string token_text(const Tokenizer& tokenizer, int32_t token);

// An entry of choices[].logprobs.content of chats: token, logprob, bytes, top_logprobs.
OrderedJson chat_logprobs(const Tokenizer& tokenizer, const TokenProbabilities& token);

// choices[].logprobs of text completions: tokens, token_logprobs, top_logprobs and text_offset, in
// characters from the beginning of the choice's text.
class TextLogprobs {
 public:
  explicit TextLogprobs(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  // A token whose probabilities nobody knows: the first of a prompt.
  void add_first(int32_t token);
  void add(const TokenProbabilities& token);
  // What was added since the last call; offsets go on.
  OrderedJson take();

 private:
  void add_token(int32_t token);

  const Tokenizer* tokenizer_;
  int64_t offset_ = 0;
  OrderedJson tokens_ = OrderedJson::array(), logprobs_ = OrderedJson::array(),
              likeliest_ = OrderedJson::array(), offsets_ = OrderedJson::array();
};

}  // namespace bitsmith
