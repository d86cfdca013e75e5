#include "runtime/text_session.h"

#include "base/error.h"
#include "runtime/answer_text.h"

namespace bitsmith {

TextSession::TextSession(const std::filesystem::path& model, const RunContext& run,
                         const ContextOptions& context)
    : run_(run), model_(model, run, context) {}

TextResult TextSession::chat(const ChatRequest& request, const AnswerOptions& options,
                             const OnText& on_text) {
  BITSMITH_CHECK(can_chat());
  return answer(model_.encode_chat(request), options, on_text);
}

TextResult TextSession::complete(const std::string& prompt, const AnswerOptions& options,
                                 const OnText& on_text) {
  return answer(model_.encode_text(prompt), options, on_text);
}

TextResult TextSession::answer(std::vector<int32_t> prompt, const AnswerOptions& options,
                               const OnText& on_text) {
  TextResult result;
  AnswerText text;
  const auto emit = [&](const std::string& piece) {
    if (piece.empty()) return;
    result.text += piece;
    if (on_text) on_text(piece);
  };
  Request request;
  request.prompt = std::move(prompt);
  request.sampling = options.sampling;
  request.seed = run_.seed;
  request.stream = options.stream;
  request.max_tokens = options.max_tokens;
  request.end_tokens = model_.end_tokens();
  if (options.form) request.constraint = model_.constraint(options.form, request.end_tokens);
  request.on_token = [&](const GeneratedToken& token) {
    if (!token.ends) emit(text.push(model_.tokenizer().token_bytes(token.token)));
    return true;
  };
  result.generated = model_.engine().run(std::move(request), run_);
  emit(text.finish());
  return result;
}

}  // namespace bitsmith
