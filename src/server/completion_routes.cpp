// How bodies become requests to the engine, and its answers responses.
#include <algorithm>
#include <ctime>

#include "server/routes.h"

namespace bitsmith {
namespace {

class CompletionStream : public BodyStream {
 public:
  explicit CompletionStream(std::unique_ptr<Completion> completion)
      : completion_(std::move(completion)) {}
  bool next(std::string& piece) override {
    piece = completion_->next_events();
    return !piece.empty();
  }

 private:
  std::unique_ptr<Completion> completion_;
};

}  // namespace

Request Routes::engine_request(const CompletionOptions& options, std::vector<int32_t> prompt,
                               int64_t default_tokens, const HttpRequest& http) {
  const int64_t tokens = std::ssize(prompt);
  if (options_.max_prompt > 0 && tokens > options_.max_prompt)
    throw HttpError({.code = "context_length_exceeded"},
                    concat("the prompt has ", tokens, " tokens, but the server takes at most ",
                           options_.max_prompt));
  const int64_t most = options_.max_tokens > 0 ? options_.max_tokens : model_.context();
  if (options.max_tokens && *options.max_tokens > most)
    throw HttpError::invalid_field(
        "max_tokens", concat("is ", *options.max_tokens, ", but the server allows at most ", most));
  // What nobody asked for shall not be refused for want of memory.
  const EngineOptions& engine = model_.engine().options();
  const int64_t room = std::max<int64_t>(1, engine.kv_pages * KvPool::kPage - tokens);
  Request request;
  request.prompt = std::move(prompt);
  request.sampling = options.sampling;
  request.max_tokens = options.max_tokens.value_or(std::min({default_tokens, most, room}));
  request.seed = options.seed.value_or(seed_);
  request.stream = options.seed ? 0 : next_stream_++;
  if (!options.ignore_eos) request.end_tokens = model_.end_tokens();
  if (options.form) request.constraint = model_.constraint(options.form, request.end_tokens);
  request.client = http.client;
  request.likeliest = options.likeliest;
  return request;
}

HttpResponse Routes::chat_completions(HttpRequest& http) {
  const Deadline deadline = new_deadline();
  std::vector<CompletionPrompt> prompts;
  CompletionOptions options;
  {
    ChatCompletionRequest request = read_chat_completion(http.body);
    prompts.push_back(chat_prompt(request, http, deadline));
    options = std::move(request.options);
  }
  http.drop_body();
  return complete(http, options, true, std::move(prompts), deadline);
}

CompletionPrompt Routes::chat_prompt(const ChatCompletionRequest& request, const HttpRequest& http,
                                     const Deadline& deadline) {
  check_model(request.options.model);
  if (!model_.chat_template().supported())
    throw HttpError({}, model_.chat_template().reason() + "; use /v1/completions");
  std::vector<int32_t> prompt;
  try {
    prompt = model_.encode_chat(request.chat, deadline);
  } catch (const DeadlineError&) {
    throw;
  } catch (const Error& error) {  // the template refuses the conversation
    throw HttpError({.param = "messages"}, error.what());
  }
  return {.request =
              engine_request(request.options, std::move(prompt), options_.answer_tokens, http)};
}

HttpResponse Routes::text_completions(HttpRequest& http) {
  const Deadline deadline = new_deadline();
  TextCompletionRequest request = read_text_completion(http.body);
  CompletionOptions options = request.options;
  std::vector<CompletionPrompt> prompts = text_prompts(std::move(request), http, deadline);
  http.drop_body();
  return complete(http, options, false, std::move(prompts), deadline);
}

std::vector<CompletionPrompt> Routes::text_prompts(TextCompletionRequest request,
                                                   const HttpRequest& http,
                                                   const Deadline& deadline) {
  constexpr int64_t kDefaultTokens = 16;  // OpenAI's
  check_model(request.options.model);
  std::vector<CompletionPrompt> prompts;
  for (TextCompletionRequest::Prompt& given : request.prompts) {
    CompletionPrompt prompt;
    prompt.echo = request.echo;
    std::vector<int32_t> ids;
    if (auto* text = std::get_if<std::string>(&given)) {
      ids = model_.encode_text(*text, deadline);
      if (request.echo) prompt.text = std::move(*text);
    } else {
      ids = std::move(std::get<std::vector<int32_t>>(given));
      if (request.echo)
        for (const int32_t id : ids) prompt.text += token_bytes(model_.tokenizer(), id);
    }
    prompt.request = engine_request(request.options, std::move(ids), kDefaultTokens, http);
    prompt.request.prompt_probabilities = request.echo && request.options.likeliest;
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

HttpResponse Routes::complete(const HttpRequest& http, const CompletionOptions& options, bool chat,
                              std::vector<CompletionPrompt> prompts, const Deadline& deadline) {
  const CompletionContext context{
      .engine = engine_,
      .tokenizer = model_.tokenizer(),
      .format =
          CompletionFormat({.chat = chat,
                            .id = concat(chat ? "chatcmpl-" : "cmpl-", id_prefix_, next_id_++),
                            .created = std::time(nullptr),
                            .model = model_name_,
                            .ends_with_usage = options.include_usage}),
      .max_queue = options_.max_queue,
      .deadline = deadline,
      .disconnected = http.disconnected};
  auto completion = std::make_unique<Completion>(context, options, std::move(prompts));
  if (!options.stream) return json_response(completion->whole());
  HttpResponse response;
  response.content_type = "text/event-stream";
  response.headers.emplace("Cache-Control", "no-cache");
  response.headers.emplace("X-Accel-Buffering", "no");
  response.stream = std::make_unique<CompletionStream>(std::move(completion));
  return response;
}

}  // namespace bitsmith
