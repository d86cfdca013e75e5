#include "server/completion_format.h"

namespace bitsmith {
namespace {

constexpr const char* kDone = "data: [DONE]\n\n";

std::string server_sent_event(const OrderedJson& json) {
  return "data: " + json_text(json) + "\n\n";
}

// In OpenAI's words.
const char* api_finish_reason(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndToken:
    case FinishReason::kStopped:
      return "stop";
    case FinishReason::kMaxTokens:
    case FinishReason::kContextFull:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  return "";
}

OrderedJson usage_json(const CompletionUsage& usage) {
  return {{"prompt_tokens", usage.prompt},
          {"completion_tokens", usage.completion},
          {"total_tokens", usage.prompt + usage.completion},
          {"prompt_tokens_details", {{"cached_tokens", usage.shared}}}};
}

}  // namespace

OrderedJson CompletionFormat::frame(const char* object) const {
  return {{"id", header_.id},
          {"object", object},
          {"created", header_.created},
          {"model", header_.model}};
}

OrderedJson CompletionFormat::whole(OrderedJson choices, const CompletionUsage& usage) const {
  OrderedJson json = frame(chat() ? "chat.completion" : "text_completion");
  json["choices"] = std::move(choices);
  json["usage"] = usage_json(usage);
  return json;
}

OrderedJson CompletionFormat::choice(size_t index, const std::string& text, OrderedJson logprobs,
                                     FinishReason reason) const {
  OrderedJson json = {{"index", index}};
  if (chat())
    json["message"] = {{"role", "assistant"}, {"content", text}};
  else
    json["text"] = text;
  json["logprobs"] = std::move(logprobs);
  json["finish_reason"] = api_finish_reason(reason);
  return json;
}

std::string CompletionFormat::begin_event(size_t index) const {
  if (!chat()) return "";
  return choice_event(index, {{"role", "assistant"}, {"content", ""}}, nullptr, nullptr);
}

std::string CompletionFormat::text_event(size_t index, const std::string& text,
                                         OrderedJson logprobs) const {
  OrderedJson content = text;
  if (chat()) content = {{"content", text}};
  return choice_event(index, std::move(content), std::move(logprobs), nullptr);
}

std::string CompletionFormat::finish_event(size_t index, FinishReason reason) const {
  OrderedJson content = "";
  if (chat()) content = OrderedJson::object();
  return choice_event(index, std::move(content), nullptr, api_finish_reason(reason));
}

std::string CompletionFormat::end_events(const CompletionUsage& usage) const {
  const std::string last =
      header_.ends_with_usage ? event(OrderedJson::array(), usage_json(usage)) : "";
  return last + kDone;
}

std::string CompletionFormat::error_events(const HttpError& error) {
  return server_sent_event(error.json()) + kDone;
}

std::string CompletionFormat::choice_event(size_t index, OrderedJson content, OrderedJson logprobs,
                                           OrderedJson finish_reason) const {
  OrderedJson choice = {{"index", index}};
  choice[chat() ? "delta" : "text"] = std::move(content);
  choice["logprobs"] = std::move(logprobs);
  choice["finish_reason"] = std::move(finish_reason);
  return event(OrderedJson::array({std::move(choice)}), nullptr);
}

std::string CompletionFormat::event(OrderedJson choices, OrderedJson usage) const {
  OrderedJson json = frame(chat() ? "chat.completion.chunk" : "text_completion");
  json["choices"] = std::move(choices);
  if (header_.ends_with_usage) json["usage"] = std::move(usage);  // null before the last event
  return server_sent_event(json);
}

}  // namespace bitsmith
