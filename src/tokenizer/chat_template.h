// A conversation -> prompt, by the Jinja template that the model carries (jinja/template.h).
#pragma once
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "tokenizer/jinja/template.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {

struct ChatRequest {
  // A list of objects: {"role": "user", "content": "..."}, and what else the template looks for
  // (tool_calls, reasoning_content).
  OrderedJson messages = OrderedJson::array();
  OrderedJson tools;  // a list of JSON schemas; null: none
  bool add_generation_prompt = true;
  // Others that the template asks for, such as enable_thinking. They win over those above.
  OrderedJson variables = OrderedJson::object();
  // The time that strftime_now() tells; the local time where it is not given.
  std::optional<std::tm> now;
};

OrderedJson chat_message(const std::string& role, const std::string& content);

struct ChatPrompt {
  std::string text;  // valid UTF-8
  // What came from messages, tools and variables: there special tokens that are spelled out stay
  // text. In order and disjoint.
  std::vector<Span> foreign;

  // Ids for the model. The template itself writes every special token, BOS too.
  std::vector<int32_t> encode(const Tokenizer& tokenizer, const Deadline& deadline = {}) const;
};

// Immutable; several threads may render at once.
class ChatTemplate {
 public:
  // supported() is false for a model without a template and for one that is not well-formed:
  // reason() then says so in a sentence, and callers fall back to plain completion.
  explicit ChatTemplate(const Tokenizer& tokenizer);
  explicit ChatTemplate(const std::string& source);  // without named tokens
  bool supported() const { return chat_.has_value(); }
  const std::string& reason() const { return reason_; }

  // Throws Error naming the template's line for a conversation that it refuses, for its own
  // mistakes, and beyond the limits.
  ChatPrompt render(const ChatRequest& request, const jinja::Limits& limits = {}) const;

 private:
  void parse(const std::string& chat, const std::string& tool_use);
  std::optional<jinja::Template> chat_, tool_use_;  // tool_use: for requests with tools
  std::map<std::string, std::string> named_tokens_;
  std::string reason_;
};

}  // namespace bitsmith
