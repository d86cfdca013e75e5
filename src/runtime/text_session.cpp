#include "runtime/text_session.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"

namespace bitsmith {
namespace {

int64_t choose_context(const ModelPlan& plan, int64_t wanted) {
  const int64_t trained = plan.context;
  if (wanted <= 0) return std::min(trained, TextSession::kDefaultContext);
  if (wanted > trained && plan.positions.exists())
    throw UsageError(concat("the model has learned ", trained, " positions: a context of ", wanted,
                            " tokens is not possible"));
  if (wanted > trained && !extends_context(plan)) {
    log_warning(concat("the model was trained for contexts of ", trained,
                       " tokens; beyond that its answers lose sense"));
  }
  return wanted;
}

}  // namespace

TextSession::TextSession(const std::filesystem::path& model, const RunContext& run, int64_t context)
    : run_(run),
      tokenizer_(Tokenizer::open(model)),
      chat_template_(*tokenizer_),
      model_(load_weights(*ModelFiles::open(model), DensePrecision::kFast), run.threads),
      cache_(model_.plan(), choose_context(model_.plan(), context)),
      end_tokens_(model_.plan().eos_token_ids) {
  if (tokenizer_->eos_id) end_tokens_.push_back(*tokenizer_->eos_id);
  end_tokens_.push_back(tokenizer_->document_separator());
  // GGUF files name one end token; these end a turn of a chat.
  for (const char* name : {"<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>"})
    if (const auto id = tokenizer_->token_id(name)) end_tokens_.push_back(*id);
}

TextResult TextSession::chat(const ChatRequest& request, Sampler& sampler, int64_t max_tokens,
                             const OnText& on_text) {
  BITSMITH_CHECK(can_chat());
  std::vector<int32_t> prompt = chat_template_.render(request).encode(*tokenizer_);
  if (prompt.empty()) throw Error("the model's chat template made no text of the conversation");
  return generate_text(std::move(prompt), sampler, max_tokens, on_text);
}

TextResult TextSession::complete(const std::string& prompt, Sampler& sampler, int64_t max_tokens,
                                 const OnText& on_text) {
  std::vector<int32_t> ids = tokenizer_->encode(prompt);
  if (ids.empty()) ids.push_back(tokenizer_->bos_id.value_or(tokenizer_->document_separator()));
  return generate_text(std::move(ids), sampler, max_tokens, on_text);
}

TextResult TextSession::generate_text(std::vector<int32_t> prompt, Sampler& sampler,
                                      int64_t max_tokens, const OnText& on_text) {
  TextResult result;
  Utf8Stream stream;
  const auto emit = [&](const std::string& piece) {
    if (piece.empty()) return;
    result.text += piece;
    if (on_text) on_text(piece);
  };
  result.generated = generate(
      model_, cache_, prompt, sampler,
      {.max_tokens = max_tokens, .end_tokens = end_tokens_, .vocab_size = tokenizer_->vocab_size()},
      [&](int32_t token) {
        emit(stream.push(tokenizer_->token_bytes(token)));
        return true;
      },
      run_);
  emit(stream.flush());
  return result;
}

}  // namespace bitsmith
