// A loaded model with what turns its tokens into text, and the engine that runs it.
#pragma once
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/run_context.h"
#include "runtime/batch_options.h"
#include "runtime/grammar/json_constraint.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {

class TextModel {
 public:
  // Shows how loading goes on. Throws Error for a model that cannot be read or a memory that cannot
  // be had, UsageError for a context that the model cannot have.
  TextModel(const std::filesystem::path& model, const RunContext& run,
            const ContextOptions& context, const BatchOptions& batch = {});

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const ChatTemplate& chat_template() const { return chat_template_; }
  Engine& engine() { return *engine_; }
  int64_t context() const { return engine_->options().context; }
  // What ends an answer.
  const std::vector<int64_t>& end_tokens() const { return end_tokens_; }

  // Ids for the engine. Thread-safe. Throws Error for what the template refuses, DeadlineError.
  std::vector<int32_t> encode_chat(const ChatRequest& request, const Deadline& deadline = {}) const;
  // Plain text, which the model continues; never empty.
  std::vector<int32_t> encode_text(const std::string& text, const Deadline& deadline = {}) const;
  // What holds one answer to a form; `end_tokens` may end it. It does not outlive this.
  // Thread-safe. The first takes longer: the vocabulary is prepared.
  std::shared_ptr<TokenConstraint> constraint(std::shared_ptr<const JsonForm> form,
                                              const std::vector<int64_t>& end_tokens) const;

 private:
  std::unique_ptr<Tokenizer> tokenizer_;
  mutable std::once_flag trie_made_;
  mutable std::unique_ptr<TokenTrie> trie_;
  ChatTemplate chat_template_;
  RuntimeModel model_;
  std::unique_ptr<Engine> engine_;
  std::vector<int64_t> end_tokens_;
};

}  // namespace bitsmith
