#include "tokenizer/chat_template.h"

#include "base/error.h"

namespace bitsmith {
namespace {

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm time = {};
  localtime_r(&now, &time);
  return time;
}

// The names that Hugging Face gives to a template; without tools and documents they are None.
jinja::Dict variables_of(const ChatRequest& request,
                         const std::map<std::string, std::string>& named_tokens) {
  using jinja::Text;
  using jinja::Value;
  jinja::Dict variables;
  for (const auto& [name, token] : named_tokens) variables.set(Text(name), Text(token));
  variables.set("messages", Value::foreign(request.messages));
  variables.set("tools", Value::foreign(request.tools));
  variables.set("documents", Value());
  variables.set("add_generation_prompt", request.add_generation_prompt);
  for (const auto& [name, value] : request.variables.items())
    variables.set(Text(name), Value::foreign(value));
  return variables;
}

}  // namespace

OrderedJson chat_message(const std::string& role, const std::string& content) {
  return {{"role", role}, {"content", content}};
}

std::vector<int32_t> ChatPrompt::encode(const Tokenizer& tokenizer,
                                        const Deadline& deadline) const {
  return tokenizer.encode(text, /*add_special=*/false, ParseSpecial::outside_of(foreign), deadline);
}

ChatTemplate::ChatTemplate(const Tokenizer& tokenizer) : named_tokens_(tokenizer.named_tokens) {
  parse(tokenizer.chat_template, tokenizer.tool_use_template);
}

ChatTemplate::ChatTemplate(const std::string& source) { parse(source, ""); }

void ChatTemplate::parse(const std::string& chat, const std::string& tool_use) {
  if (chat.empty()) {
    reason_ = "the model has no chat template";
    return;
  }
  try {
    if (!tool_use.empty()) tool_use_.emplace(tool_use, "the model's chat template for tools");
    chat_.emplace(chat, "the model's chat template");
  } catch (const Error& error) {
    reason_ = error.what();
  }
}

ChatPrompt ChatTemplate::render(const ChatRequest& request, const jinja::Limits& limits) const {
  if (!supported()) throw Error(reason_);
  jinja::Dict variables;
  try {
    variables = variables_of(request, named_tokens_);
  } catch (const jinja::Failure& failure) {
    throw Error(concat("the conversation cannot be given to the chat template: ", failure.what()));
  }
  const bool with_tools = tool_use_ && !variables.find_text("tools")->is_none();
  const jinja::Text text = (with_tools ? *tool_use_ : *chat_)
                               .render(variables, request.now.value_or(local_time()), limits);
  return {text.bytes(), text.foreign_spans()};
}

}  // namespace bitsmith
