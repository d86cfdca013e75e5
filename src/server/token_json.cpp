#include "server/token_json.h"

#include <algorithm>
#include <utility>

#include "tokenizer/utf8.h"

namespace bitsmith {
namespace {

OrderedJson chat_entry(const Tokenizer& tokenizer, const TokenProbabilities::Entry& entry) {
  OrderedJson bytes = OrderedJson::array();
  for (const unsigned char byte : token_bytes(tokenizer, entry.token)) bytes.push_back(byte);
  return {{"token", token_text(tokenizer, entry.token)},
          {"logprob", entry.log_probability},
          {"bytes", bytes}};
}

}  // namespace

std::string token_bytes(const Tokenizer& tokenizer, int32_t token) {
  return token < tokenizer.vocab_size() ? tokenizer.token_bytes(token) : "";
}

std::string token_text(const Tokenizer& tokenizer, int32_t token) {
  const std::string bytes = token_bytes(tokenizer, token);
  if (is_valid_utf8(bytes)) return bytes;
  constexpr const char* kDigits = "0123456789ABCDEF";
  std::string text = "bytes:";
  for (const unsigned char byte : bytes)
    text += {'\\', 'x', kDigits[byte / 16], kDigits[byte % 16]};
  return text;
}

OrderedJson chat_logprobs(const Tokenizer& tokenizer, const TokenProbabilities& token) {
  OrderedJson json = chat_entry(tokenizer, token.chosen);
  OrderedJson& likeliest = json["top_logprobs"] = OrderedJson::array();
  for (const auto& entry : token.likeliest) likeliest.push_back(chat_entry(tokenizer, entry));
  return json;
}

void TextLogprobs::add_token(int32_t token) {
  tokens_.push_back(token_text(*tokenizer_, token));
  offsets_.push_back(offset_);
  // Continuation bytes are no characters.
  offset_ += std::ranges::count_if(token_bytes(*tokenizer_, token),
                                   [](char c) { return (c & 0xC0) != 0x80; });
}

void TextLogprobs::add_first(int32_t token) {
  add_token(token);
  logprobs_.push_back(nullptr);
  likeliest_.push_back(nullptr);
}

void TextLogprobs::add(const TokenProbabilities& token) {
  add_token(token.chosen.token);
  logprobs_.push_back(token.chosen.log_probability);
  OrderedJson likeliest = OrderedJson::object();
  for (const auto& entry : token.likeliest) {
    const std::string text = token_text(*tokenizer_, entry.token);
    if (!likeliest.contains(text)) likeliest[text] = entry.log_probability;
  }
  likeliest_.push_back(likeliest);
}

OrderedJson TextLogprobs::take() {
  const auto taken = [](OrderedJson& list) { return std::exchange(list, OrderedJson::array()); };
  return {{"tokens", taken(tokens_)},
          {"token_logprobs", taken(logprobs_)},
          {"top_logprobs", taken(likeliest_)},
          {"text_offset", taken(offsets_)}};
}

}  // namespace bitsmith
