// A loaded model with its tokenizer: text in, text out.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/generator.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {

struct TextResult {
  std::string text;
  GenerateResult generated;
};

class TextSession {
 public:
  // context: tokens that prompt and answer may have together; 0: what the model was trained for,
  // but at most kDefaultContext. `run` gives the threads, and stops answers.
  TextSession(const std::filesystem::path& model, const RunContext& run, int64_t context = 0);
  static constexpr int64_t kDefaultContext = 8192;

  int64_t context() const { return cache_.capacity(); }
  // Empty when the model has a chat template, else why there is none.
  const std::string& no_chat_reason() const { return chat_template_.reason(); }
  bool can_chat() const { return chat_template_.supported(); }

  // on_text gets whole UTF-8 characters as they come.
  using OnText = std::function<void(const std::string& text)>;
  // The assistant's answer to the conversation so far. Throws Error for what the template refuses.
  TextResult chat(const ChatRequest& request, Sampler& sampler, int64_t max_tokens,
                  const OnText& on_text = {});
  // Continues plain text.
  TextResult complete(const std::string& prompt, Sampler& sampler, int64_t max_tokens,
                      const OnText& on_text = {});

 private:
  TextResult generate_text(std::vector<int32_t> prompt, Sampler& sampler, int64_t max_tokens,
                           const OnText& on_text);

  RunContext run_;
  std::unique_ptr<Tokenizer> tokenizer_;
  ChatTemplate chat_template_;
  RuntimeModel model_;
  KvCache cache_;
  std::vector<int64_t> end_tokens_;
};

}  // namespace bitsmith
