// Messages -> prompt. ChatML only, rendered exactly as the model's own Jinja template would (with
// the default system message that SmolLM2's and Qwen2's templates insert).
#pragma once
#include <string>
#include <vector>

namespace bitsmith {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

class ChatTemplate {
 public:
  // Recognizes a ChatML Jinja source and its default system message. supported() is false for
  // another template (or none): `reason()` then says so in a sentence, and callers fall back to
  // plain completion.
  explicit ChatTemplate(const std::string& jinja_source);
  bool supported() const { return supported_; }
  const std::string& reason() const { return reason_; }
  // With add_generation_prompt the text ends with "<|im_start|>assistant\n".
  std::string render(const std::vector<ChatMessage>& messages,
                     bool add_generation_prompt = true) const;

 private:
  bool supported_ = false;
  std::string reason_;
  std::string default_system_;  // empty: none is inserted
};

}  // namespace bitsmith
