#include "server/completion.h"

#include <algorithm>

namespace bitsmith {
namespace {

using namespace std::chrono_literals;

// How long a client that has gone, and the deadline, may stay unnoticed.
constexpr auto kPatience = 100ms;

HttpError server_error(int status, const std::string& code, const std::string& message) {
  return {{.status = status, .type = "server_error", .code = code}, message};
}

}  // namespace

const char* api_finish_reason(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndToken:
    case FinishReason::kStopped:
      return "stop";
    case FinishReason::kMaxTokens:
    case FinishReason::kContextFull:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  return "";
}

std::string server_sent_event(const OrderedJson& json) {
  return "data: " + json_text(json) + "\n\n";
}

Completion::Completion(const CompletionContext& context, const CompletionOptions& options,
                       bool chat, std::vector<CompletionPrompt> prompts)
    : context_(context), options_(options), chat_(chat) {
  for (CompletionPrompt& prompt : prompts) {
    std::vector<int32_t> ids = prompt.request.prompt;
    choices_.push_back(
        {.answer = std::make_unique<Answer>(context_.engine, context_.tokenizer,
                                            std::move(prompt.request), options_.stop),
         .prompt = std::move(ids),
         .echo = prompt.echo,
         .echo_text = std::move(prompt.text),
         .logprobs = TextLogprobs(context_.tokenizer)});
  }
  const char* param = chat ? "messages" : "prompt";
  try {
    context_.engine.run([this](Engine& engine) {
      check_queue(engine);
      for (const Choice& choice : choices_) choice.answer->submit(engine);
    });
  } catch (const HttpError&) {
    throw;
  } catch (const RequestTooLong& error) {
    throw HttpError({.param = param, .code = "context_length_exceeded"}, error.what());
  } catch (const RequestError& error) {
    throw HttpError({.param = param}, error.what());
  } catch (const UsageError& error) {
    throw HttpError({}, error.what());
  } catch (const Error& error) {
    throw server_error(503, "stopping", error.what());
  }
}

void Completion::check_queue(const Engine& engine) const {
  const EngineStats stats = engine.stats();
  const int64_t beyond = std::ssize(choices_) - engine.options().max_batch;
  if (beyond > context_.max_queue)
    throw HttpError({.param = "prompt"}, concat("there are ", choices_.size(),
                                                " prompts, more than this server ever "
                                                "takes in: send fewer in one request"));
  if (stats.running + stats.waiting + beyond > context_.max_queue)
    throw server_error(503, "queue_full",
                       concat("at most ", context_.max_queue, " requests may wait, ", stats.waiting,
                              " do already: try again later"));
}

void Completion::check_waiting() const {
  if (context_.disconnected())
    throw server_error(499, "client_closed_request", "the client closed the connection");
  if (std::chrono::steady_clock::now() > context_.deadline)
    throw server_error(504, "timeout", "the request took longer than the server's time limit");
}

std::string Completion::text_of(Choice& choice, const AnswerPiece& piece) const {
  if (choice.begun) return piece.text;
  choice.begun = true;
  return choice.echo_text + piece.text;
}

OrderedJson Completion::logprobs_of(Choice& choice, const AnswerPiece& piece) const {
  if (!options_.likeliest) return nullptr;
  if (chat_) {
    if (!piece.probabilities) return nullptr;
    return {
        {"content", OrderedJson::array({chat_logprobs(context_.tokenizer, *piece.probabilities)})},
        {"refusal", nullptr}};
  }
  if (choice.echo && piece.is_prompt) choice.logprobs.add_first(choice.prompt.front());
  for (const TokenProbabilities& token : piece.prompt) choice.logprobs.add(token);
  if (piece.probabilities) choice.logprobs.add(*piece.probabilities);
  return choice.logprobs.take();
}

OrderedJson Completion::whole() {
  OrderedJson choices = OrderedJson::array();
  for (size_t i = 0; i < choices_.size(); ++i) {
    Choice& choice = choices_[i];
    OrderedJson logprobs;
    if (options_.likeliest && chat_)
      logprobs = {{"content", OrderedJson::array()}, {"refusal", nullptr}};
    else if (options_.likeliest)
      logprobs = TextLogprobs(context_.tokenizer).take();
    std::string text;
    while (!choice.answer->finished()) {
      check_waiting();
      const auto piece = choice.answer->next(kPatience);
      if (!piece) continue;
      text += text_of(choice, *piece);
      const OrderedJson more = logprobs_of(choice, *piece);
      if (more.is_null()) continue;
      for (const auto& [key, list] : more.items())
        if (list.is_array()) logprobs[key].insert(logprobs[key].end(), list.begin(), list.end());
    }
    const RequestResult result = choice.answer->result();
    if (result.reason == FinishReason::kError) throw server_error(500, "", result.error);
    OrderedJson json = {{"index", i}};
    if (chat_)
      json["message"] = {{"role", "assistant"}, {"content", text}};
    else
      json["text"] = text;
    json["logprobs"] = logprobs;
    json["finish_reason"] = api_finish_reason(result.reason);
    choices.push_back(std::move(json));
  }
  OrderedJson json = frame(chat_ ? "chat.completion" : "text_completion");
  json["choices"] = std::move(choices);
  json["usage"] = usage();
  return json;
}

std::string Completion::next_events() {
  if (over_) return "";
  const auto failed = [this](const HttpError& error) {
    over_ = true;
    return server_sent_event(error.json()) + "data: [DONE]\n\n";
  };
  try {
    return wait_events();
  } catch (const HttpError& error) {
    return failed(error);
  } catch (const std::exception& error) {
    return failed(server_error(500, "", error_message(error)));
  }
}

std::string Completion::wait_events() {
  for (;;) {
    check_waiting();
    std::string events;
    size_t ended = 0;
    for (size_t i = 0; i < choices_.size(); ++i) {
      Choice& choice = choices_[i];
      while (const auto piece = choice.answer->next(0ms)) events += piece_event(i, *piece);
      if (!choice.ended && choice.answer->finished()) events += finish_event(i);
      ended += choice.ended;
    }
    if (ended == choices_.size()) return events + end_events();
    if (!events.empty()) return events;
    // Several answers come at the same pace: whoever waits for one does not wait long for another.
    const auto running = std::ranges::find_if(choices_, [](const Choice& c) { return !c.ended; });
    const auto patience = choices_.size() > 1 ? 10ms : kPatience;
    if (const auto piece = running->answer->next(patience))
      events = piece_event(static_cast<size_t>(running - choices_.begin()), *piece);
    if (!events.empty()) return events;
  }
}

std::string Completion::end_events() {
  over_ = true;
  std::string events;
  if (options_.include_usage) {
    OrderedJson json = frame(chat_ ? "chat.completion.chunk" : "text_completion");
    json["choices"] = OrderedJson::array();
    json["usage"] = usage();
    events += server_sent_event(json);
  }
  return events + "data: [DONE]\n\n";
}

OrderedJson Completion::frame(const char* object) const {
  return {{"id", context_.id},
          {"object", object},
          {"created", context_.created},
          {"model", context_.model}};
}

std::string Completion::event(size_t index, OrderedJson choice) const {
  OrderedJson json = frame(chat_ ? "chat.completion.chunk" : "text_completion");
  OrderedJson numbered = {{"index", index}};
  numbered.update(choice);
  json["choices"] = OrderedJson::array({std::move(numbered)});
  if (options_.include_usage) json["usage"] = nullptr;  // the last event has it
  return server_sent_event(json);
}

std::string Completion::piece_event(size_t index, const AnswerPiece& piece) {
  Choice& choice = choices_[index];
  std::string events;
  if (chat_ && !choice.begun)
    events = event(index, {{"delta", {{"role", "assistant"}, {"content", ""}}},
                           {"logprobs", nullptr},
                           {"finish_reason", nullptr}});
  const std::string text = text_of(choice, piece);
  const OrderedJson logprobs = logprobs_of(choice, piece);
  const bool says_logprobs =
      options_.likeliest && (piece.probabilities || (choice.echo && piece.is_prompt));
  if (text.empty() && !says_logprobs) return events;
  OrderedJson json;
  if (chat_)
    json["delta"] = {{"content", text}};
  else
    json["text"] = text;
  json["logprobs"] = logprobs;
  json["finish_reason"] = nullptr;
  return events + event(index, std::move(json));
}

std::string Completion::finish_event(size_t index) {
  Choice& choice = choices_[index];
  choice.ended = true;
  const RequestResult result = choice.answer->result();
  if (result.reason == FinishReason::kError) throw server_error(500, "", result.error);
  OrderedJson json;
  if (chat_)
    json["delta"] = OrderedJson::object();
  else
    json["text"] = "";
  json["logprobs"] = nullptr;
  json["finish_reason"] = api_finish_reason(result.reason);
  return event(index, std::move(json));
}

// Once all answers have ended.
OrderedJson Completion::usage() const {
  int64_t prompt = 0, answer = 0, shared = 0;
  for (const Choice& choice : choices_) {
    const RequestResult result = choice.answer->result();
    prompt += std::ssize(choice.prompt);
    answer += std::ssize(result.tokens);
    shared += result.shared_tokens;
  }
  return {{"prompt_tokens", prompt},
          {"completion_tokens", answer},
          {"total_tokens", prompt + answer},
          {"prompt_tokens_details", {{"cached_tokens", shared}}}};
}

}  // namespace bitsmith
