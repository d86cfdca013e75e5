// One person's use of a model: text in, text out, one answer after another.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/run_context.h"
#include "runtime/text_model.h"

namespace bitsmith {

struct AnswerOptions {
  SamplingOptions sampling = {};
  uint64_t stream = 0;  // under the run's seed: answers of one conversation differ in it
  int64_t max_tokens = 512;
  std::shared_ptr<const JsonForm> form = {};  // what each answer is held to; none: nothing
};

struct TextResult {
  std::string text;
  RequestResult generated;
};

class TextSession {
 public:
  // `run` gives threads and seed, and stops answers.
  TextSession(const std::filesystem::path& model, const RunContext& run,
              const ContextOptions& context = {});

  int64_t context() const { return model_.context(); }
  // Empty when the model has a chat template, else why there is none.
  const std::string& no_chat_reason() const { return model_.chat_template().reason(); }
  bool can_chat() const { return model_.chat_template().supported(); }

  // on_text gets whole UTF-8 characters as they come; what it throws comes out.
  using OnText = std::function<void(const std::string& text)>;
  // The assistant's answer to the conversation so far. Throws Error for what the template refuses
  // and for what does not fit into the context.
  TextResult chat(const ChatRequest& request, const AnswerOptions& options,
                  const OnText& on_text = {});
  // Continues plain text.
  TextResult complete(const std::string& prompt, const AnswerOptions& options,
                      const OnText& on_text = {});

 private:
  TextResult answer(std::vector<int32_t> prompt, const AnswerOptions& options,
                    const OnText& on_text);

  RunContext run_;
  TextModel model_;
};

}  // namespace bitsmith
