#include "server/completion_choice.h"

namespace bitsmith {

CompletionChoice::CompletionChoice(EngineThread& engine, const Tokenizer& tokenizer,
                                   const CompletionOptions& options, bool chat,
                                   CompletionPrompt prompt)
    : tokenizer_(&tokenizer),
      chat_(chat),
      with_logprobs_(options.likeliest.has_value()),
      echo_(prompt.echo),
      echo_text_(std::move(prompt.text)),
      prompt_tokens_(std::ssize(prompt.request.prompt)),
      first_token_(prompt.request.prompt.empty() ? -1 : prompt.request.prompt.front()),
      answer_(std::make_unique<Answer>(engine, tokenizer, std::move(prompt.request), options.stop)),
      logprobs_(tokenizer) {}

CompletionChoice::Part CompletionChoice::part_of(const AnswerPiece& piece) {
  const bool first = !begun_;
  begun_ = true;
  return {first, first ? echo_text_ + piece.text : piece.text, logprobs_of(piece)};
}

OrderedJson CompletionChoice::no_logprobs() const {
  if (!with_logprobs_) return nullptr;
  if (chat_) return {{"content", OrderedJson::array()}, {"refusal", nullptr}};
  return TextLogprobs(*tokenizer_).take();
}

void CompletionChoice::add_logprobs(const OrderedJson& part, OrderedJson& all) {
  if (part.is_null()) return;
  for (const auto& [key, list] : part.items())
    if (list.is_array()) all[key].insert(all[key].end(), list.begin(), list.end());
}

OrderedJson CompletionChoice::logprobs_of(const AnswerPiece& piece) {
  const bool of_prompt = echo_ && piece.is_prompt;
  if (!with_logprobs_ || (!piece.probabilities && !of_prompt)) return nullptr;
  if (chat_)
    return {{"content", OrderedJson::array({chat_logprobs(*tokenizer_, *piece.probabilities)})},
            {"refusal", nullptr}};
  if (of_prompt) logprobs_.add_first(first_token_);
  for (const TokenProbabilities& token : piece.prompt) logprobs_.add(token);
  if (piece.probabilities) logprobs_.add(*piece.probabilities);
  return logprobs_.take();
}

}  // namespace bitsmith
