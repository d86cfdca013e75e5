// One choice of a completion: an answer, and what its pieces add to the response.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/json.h"
#include "server/answer.h"
#include "server/completion_request.h"
#include "server/token_json.h"

namespace bitsmith {

// What a choice is asked for.
struct CompletionPrompt {
  Request request;
  bool echo = false;      // the prompt is part of the choice,
  std::string text = {};  // as this text
};

class CompletionChoice {
 public:
  // Engine and tokenizer outlive this.
  CompletionChoice(EngineThread& engine, const Tokenizer& tokenizer,
                   const CompletionOptions& options, bool chat, CompletionPrompt prompt);

  Answer& answer() { return *answer_; }
  const Answer& answer() const { return *answer_; }
  int64_t prompt_tokens() const { return prompt_tokens_; }

  struct Part {
    bool first;            // nothing came before
    std::string text;      // begins with the prompt's, where it is echoed
    OrderedJson logprobs;  // in the API's form; null: none
  };
  // Of each piece, in order.
  Part part_of(const AnswerPiece& piece);
  // Log-probabilities of nothing yet, and with those of a part; null: nobody asked for any.
  OrderedJson no_logprobs() const;
  static void add_logprobs(const OrderedJson& part, OrderedJson& all);

 private:
  OrderedJson logprobs_of(const AnswerPiece& piece);

  const Tokenizer* tokenizer_;
  bool chat_, with_logprobs_, echo_;
  std::string echo_text_;
  int64_t prompt_tokens_;
  int32_t first_token_;
  std::unique_ptr<Answer> answer_;
  TextLogprobs logprobs_;
  bool begun_ = false;
};

}  // namespace bitsmith
