#include "tokenizer/chat_template.h"

#include <optional>
#include <string_view>
#include "base/error.h"

#include "tokenizer/jinja_outline.h"

namespace bitsmith {
namespace {

// Reads an outline from left to right by literal pieces.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}
  // Takes `literal`, written with ' for the outline's quotation mark.
  bool take(std::string literal) {
    for (char& c : literal)
      if (c == '\'') c = kOutlineQuote;
    if (!rest_.starts_with(literal)) return false;
    rest_.remove_prefix(literal.size());
    return true;
  }
  // Takes everything up to and including `literal`.
  std::optional<std::string> take_until(const std::string& literal) {
    const size_t i = rest_.find(literal);
    if (i == rest_.npos) return std::nullopt;
    std::string before(rest_.substr(0, i));
    rest_.remove_prefix(i + literal.size());
    return before;
  }
  // With the tag of an {% if %} taken: everything up to the {% else %} (or elif) or, where
  // `else_too`, the {% endif %} that belongs to it, included.
  bool skip_branches(bool to_endif) {
    for (int depth = 0;;) {
      if (!take_until("{%")) return false;
      const auto statement = take_until("%}");
      if (!statement) return false;
      if (statement->starts_with("if ")) ++depth;
      if (depth == 0 && !to_endif && *statement == "else") return true;
      if (*statement == "endif" && depth-- == 0) return to_endif;
    }
  }
  bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

const std::string kMessage =
    "{{'<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n'}}";

// The end of a default system message: "{{'<|im_start|>system\nTEXT<|im_end|>\n'}}".
std::optional<std::string> take_system(Reader& reader) {
  if (!reader.take("{{'<|im_start|>system\n")) return std::nullopt;
  const std::string end = std::string("<|im_end|>\n") + kOutlineQuote + "}}";
  const auto text = reader.take_until(end);
  if (!text || text->find(kOutlineQuote) != text->npos) return std::nullopt;
  return text;
}

// SmolLM2, Qwen 1.5 and 2, and plain ChatML: a loop over all messages.
bool take_loop(Reader& reader, std::string& default_system) {
  if (!reader.take("{%for message in messages%}")) return false;
  if (reader.take("{%if loop.first and messages[0].role != 'system'%}")) {
    const auto system = take_system(reader);
    if (!system || !reader.take("{%endif%}")) return false;
    default_system = *system;
  }
  return reader.take(kMessage) && reader.take("{%endfor%}");
}

// Qwen 2.5: the system message (or a default) first, then a loop over the others; branches for
// tools, which a ChatMessage never has, are passed over.
bool take_qwen25(Reader& reader, std::string& default_system) {
  if (!reader.take("{%if tools%}") || !reader.skip_branches(false)) return false;
  if (!reader.take("{%if messages[0].role == 'system'%}"
                   "{{'<|im_start|>system\n' + messages[0].content + '<|im_end|>\n'}}"))
    return false;
  if (reader.take("{%else%}")) {
    const auto system = take_system(reader);
    if (!system) return false;
    default_system = *system;
  }
  return reader.take(
             "{%endif%}{%endif%}{%for message in messages%}"
             "{%if (message.role == 'user') or (message.role == 'system' and not loop.first)"
             " or (message.role == 'assistant' and not message.tool_calls)%}") &&
         reader.take(kMessage) && reader.skip_branches(true) && reader.take("{%endfor%}");
}

bool recognize(const std::string& outline, std::string& default_system) {
  for (const auto form : {take_loop, take_qwen25}) {
    Reader reader(outline);
    default_system.clear();
    reader.take(
        "{%if not add_generation_prompt is defined%}"
        "{%set add_generation_prompt = false%}{%endif%}");
    if (form(reader, default_system) &&
        reader.take("{%if add_generation_prompt%}{{'<|im_start|>assistant\n'}}{%endif%}") &&
        reader.at_end())
      return true;
  }
  return false;
}

}  // namespace

ChatTemplate::ChatTemplate(const std::string& jinja_source) {
  if (jinja_source.empty()) {
    reason_ = "the model has no chat template";
    return;
  }
  const auto outline = jinja_outline(jinja_source);
  supported_ = outline && recognize(*outline, default_system_);
  if (!supported_)
    reason_ =
        "the model's chat template is not one of the ChatML templates that are supported (those of "
        "SmolLM2, Qwen 2 and Qwen 2.5, and plain ChatML)";
}

std::string ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                 bool add_generation_prompt) const {
  if (!supported_) throw Error(reason_);
  std::string out;
  const auto add = [&](const std::string& role, const std::string& content) {
    out += "<|im_start|>" + role + "\n" + content + "<|im_end|>\n";
  };
  if (!messages.empty() && messages[0].role != "system" && !default_system_.empty())
    add("system", default_system_);
  for (const ChatMessage& message : messages) add(message.role, message.content);
  if (add_generation_prompt) out += "<|im_start|>assistant\n";
  return out;
}

}  // namespace bitsmith
