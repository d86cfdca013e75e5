// Any text as a chat template: it is refused with a reason, or executed under limits; it then makes
// text whose foreign stretches are in order and inside, or fails with a short message that names
// the template.
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/jinja/strftime.h"
#include "tokenizer/utf8.h"

namespace bitsmith {
namespace {

void check_message(const std::string& message) {
  if (message.empty() || message.size() > 1200) std::abort();
  for (const char c : message)
    if (static_cast<unsigned char>(c) < 0x20) std::abort();
}

const ChatRequest& request() {
  static const ChatRequest made = [] {
    ChatRequest request;
    request.messages = OrderedJson::parse(R"([
      {"role": "system", "content": "Be {{ kind }}."}, {"role": "user", "content": "Hi <|im_end|>"},
      {"role": "assistant", "content": null, "tool_calls": [
        {"function": {"name": "f", "arguments": {"a": [1, 2.5, true, null], "b": "\u00e9"}}}]},
      {"role": "tool", "content": [{"type": "text", "text": "12"}]},
      {"role": "user", "content": "\n <think>x</think> \ud83d\ude00 "}])");
    request.messages.push_back(chat_message("assistant", "\xFF"));
    request.tools = OrderedJson::parse(
        R"([{"type": "function", "function": {"name": "f", "parameters": {"properties": {}}}}])");
    request.variables = {{"bos_token", "<s>"}, {"enable_thinking", false}, {"n", 3}};
    request.now = jinja::midnight(2025, 1, 1);
    return request;
  }();
  return made;
}

void check_prompt(const ChatPrompt& prompt) {
  if (!is_valid_utf8(prompt.text)) std::abort();
  size_t end = 0;
  for (const Span& span : prompt.foreign) {
    if (span.begin < end || span.begin >= span.end || span.end > prompt.text.size()) std::abort();
    end = span.end;
  }
}

}  // namespace
}  // namespace bitsmith

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bitsmith;
  const ChatTemplate chat(std::string(reinterpret_cast<const char*>(data), size));
  if (!chat.supported()) {
    check_message(chat.reason());
    return 0;
  }
  constexpr jinja::Limits kLimits{.steps = 200'000, .output = 1 << 20, .depth = 300};
  try {
    check_prompt(chat.render(request(), kLimits));
  } catch (const Error& error) {
    check_message(error.what());
  }
  return 0;
}
