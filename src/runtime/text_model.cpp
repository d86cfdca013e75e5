#include "runtime/text_model.h"

#include "base/error.h"
#include "runtime/model_source.h"
#include "tokenizer/end_tokens.h"

namespace bitsmith {

TextModel::TextModel(const std::filesystem::path& model, const RunContext& run,
                     const ContextOptions& context, const BatchOptions& batch)
    : tokenizer_(Tokenizer::open(model)),
      chat_template_(*tokenizer_),
      model_(ModelSource::open(model)->weights(DensePrecision::kFast, run), run.threads,
             prompt_products(batch.products)),
      end_tokens_(model_.plan().eos_token_ids) {
  engine_ = std::make_unique<Engine>(
      model_, engine_options(model_.plan(), tokenizer_->vocab_size(), context, batch));
  if (tokenizer_->eos_id) end_tokens_.push_back(*tokenizer_->eos_id);
  end_tokens_.push_back(tokenizer_->document_separator());
  for (const char* name : kEndTokens)
    if (const auto id = tokenizer_->token_id(name)) end_tokens_.push_back(*id);
}

std::vector<int32_t> TextModel::encode_chat(const ChatRequest& request,
                                            const Deadline& deadline) const {
  const ChatPrompt text = chat_template_.render(request, {.deadline = deadline});
  std::vector<int32_t> prompt = text.encode(*tokenizer_, deadline);
  if (prompt.empty()) throw Error("the model's chat template made no text of the conversation");
  return prompt;
}

std::vector<int32_t> TextModel::encode_text(const std::string& text,
                                            const Deadline& deadline) const {
  std::vector<int32_t> ids =
      tokenizer_->encode(text, /*add_special=*/true, /*parse_special=*/true, deadline);
  if (ids.empty()) ids.push_back(tokenizer_->bos_id.value_or(tokenizer_->document_separator()));
  return ids;
}

std::shared_ptr<TokenConstraint> TextModel::constraint(
    std::shared_ptr<const JsonForm> form, const std::vector<int64_t>& end_tokens) const {
  std::call_once(trie_made_, [this] { trie_ = std::make_unique<TokenTrie>(*tokenizer_); });
  return std::make_shared<JsonConstraint>(std::move(form), *trie_, end_tokens);
}

}  // namespace bitsmith
