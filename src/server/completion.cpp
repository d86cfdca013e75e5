#include "server/completion.h"

#include <algorithm>

namespace bitsmith {
namespace {

using namespace std::chrono_literals;

// How long a client that has gone, and the deadline, may stay unnoticed.
constexpr auto kPatience = 100ms;

}  // namespace

Completion::Completion(const CompletionContext& context, const CompletionOptions& options,
                       std::vector<CompletionPrompt> prompts)
    : context_(context), ended_(prompts.size()) {
  for (CompletionPrompt& prompt : prompts)
    choices_.emplace_back(context_.engine, context_.tokenizer, options, context_.format.chat(),
                          std::move(prompt));
  submit();
}

void Completion::submit() {
  const char* param = context_.format.chat() ? "messages" : "prompt";
  try {
    context_.engine.run([this](Engine& engine) {
      check_queue(engine);
      for (CompletionChoice& choice : choices_) choice.answer().submit(engine);
    });
  } catch (const RequestTooLong& error) {
    throw HttpError({.param = param, .code = "context_length_exceeded"}, error.what());
  } catch (const RequestError& error) {
    throw HttpError({.param = param}, error.what());
  } catch (const UsageError& error) {
    throw HttpError({}, error.what());
  } catch (const EngineStopped& error) {
    throw HttpError::server_error(503, "stopping", error.what());
  } catch (const std::exception& error) {
    throw HttpError::of(error);
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
    throw HttpError::server_error(503, "queue_full",
                                  concat("at most ", context_.max_queue, " requests may wait, ",
                                         stats.waiting, " do already: try again later"));
}

void Completion::check_waiting() const {
  if (context_.disconnected())
    throw HttpError::server_error(499, "client_closed_request", "the client closed the connection");
  if (context_.deadline.passed())
    throw HttpError::server_error(504, "timeout",
                                  "the request took longer than the server's time limit");
}

HttpError Completion::failure(const std::string& error) const {
  return context_.engine.stopping() ? HttpError::server_error(503, "stopping", error)
                                    : HttpError::server_error(500, "", error);
}

OrderedJson Completion::whole() {
  OrderedJson choices = OrderedJson::array();
  for (size_t i = 0; i < choices_.size(); ++i) {
    CompletionChoice& choice = choices_[i];
    OrderedJson logprobs = choice.no_logprobs();
    std::string text;
    while (!choice.answer().finished()) {
      check_waiting();
      const auto piece = choice.answer().next(kPatience);
      if (!piece) continue;
      const CompletionChoice::Part part = choice.part_of(*piece);
      text += part.text;
      CompletionChoice::add_logprobs(part.logprobs, logprobs);
    }
    const RequestResult result = choice.answer().result();
    if (result.reason == FinishReason::kError) throw failure(result.error);
    choices.push_back(context_.format.choice(i, text, std::move(logprobs), result.reason));
  }
  return context_.format.whole(std::move(choices), usage());
}

std::string Completion::next_events() {
  if (over_) return "";
  std::string events;
  try {
    wait_events(events);
  } catch (const std::exception& error) {
    over_ = true;
    events += CompletionFormat::error_events(HttpError::of(error));
  }
  return events;
}

void Completion::wait_events(std::string& events) {
  const auto silent_until = std::chrono::steady_clock::now() + context_.silence;
  for (;;) {
    take_events(events);
    const auto running = std::ranges::find(ended_, false);
    if (running == ended_.end()) {
      over_ = true;
      events += context_.format.end_events(usage());
      return;
    }
    check_waiting();
    if (events.empty() && std::chrono::steady_clock::now() >= silent_until)
      events = CompletionFormat::comment_event();
    if (!events.empty()) return;
    // Several answers come at the same pace: whoever waits for one does not wait long for another.
    const auto index = static_cast<size_t>(running - ended_.begin());
    if (const auto piece = choices_[index].answer().next(choices_.size() > 1 ? 10ms : kPatience))
      add_piece(index, *piece, events);
  }
}

void Completion::take_events(std::string& events) {
  std::optional<HttpError> failed;
  for (size_t i = 0; i < choices_.size(); ++i) {
    Answer& answer = choices_[i].answer();
    while (const auto piece = answer.next(0ms)) add_piece(i, *piece, events);
    if (ended_[i] || !answer.finished()) continue;
    ended_[i] = true;
    const RequestResult result = answer.result();
    if (result.reason == FinishReason::kError)
      failed = failure(result.error);
    else
      events += context_.format.finish_event(i, result.reason);
  }
  if (failed) throw *failed;
}

void Completion::add_piece(size_t index, const AnswerPiece& piece, std::string& events) {
  CompletionChoice::Part part = choices_[index].part_of(piece);
  if (part.first) events += context_.format.begin_event(index);
  if (!part.text.empty() || !part.logprobs.is_null())
    events += context_.format.text_event(index, part.text, std::move(part.logprobs));
}

// Once all answers have ended.
CompletionUsage Completion::usage() const {
  CompletionUsage usage;
  for (const CompletionChoice& choice : choices_) {
    const RequestResult result = choice.answer().result();
    usage.prompt += choice.prompt_tokens();
    usage.completion += std::ssize(result.tokens);
    usage.shared += result.shared_tokens;
  }
  return usage;
}

}  // namespace bitsmith
