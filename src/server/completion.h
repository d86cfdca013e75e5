// A completion request that runs: its answers become one JSON object, or a stream of server-sent
// events.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/answer.h"
#include "server/completion_request.h"
#include "server/http.h"
#include "server/token_json.h"

namespace bitsmith {

// What a request needs of the server.
struct CompletionContext {
  EngineThread& engine;
  const Tokenizer& tokenizer;
  std::string model;  // its name in the API
  std::string id;     // of this completion
  int64_t created;    // seconds since 1970
  int64_t max_queue;  // requests that may wait
  std::chrono::steady_clock::time_point deadline;
  std::function<bool()> disconnected;
};

// One choice of the response.
struct CompletionPrompt {
  Request request;
  bool echo = false;      // the prompt is part of the choice,
  std::string text = {};  // as this text
};

class Completion {
 public:
  // Submits everything. Throws HttpError for what the engine refuses: 400, and 503 where too many
  // requests wait or the server stops.
  Completion(const CompletionContext& context, const CompletionOptions& options, bool chat,
             std::vector<CompletionPrompt> prompts);

  // Waits for the end. Throws HttpError: 500 for an error of the model, 504 beyond the deadline,
  // 499 where the client has gone.
  OrderedJson whole();
  // The next events of the stream, at least one; empty: it has ended. Errors are events.
  std::string next_events();

 private:
  struct Choice {
    std::unique_ptr<Answer> answer;
    std::vector<int32_t> prompt;
    bool echo;
    std::string echo_text;
    TextLogprobs logprobs;
    bool begun = false, ended = false;
  };

  // Throws where the queue has no room. In the engine's thread, so nobody comes in between.
  void check_queue(const Engine& engine) const;
  // Throws beyond the deadline and where the client has gone.
  void check_waiting() const;
  std::string wait_events();
  std::string end_events();
  // What a piece adds to the choice: its text, and its log-probabilities in the API's form; null:
  // none.
  std::string text_of(Choice& choice, const AnswerPiece& piece) const;
  OrderedJson logprobs_of(Choice& choice, const AnswerPiece& piece) const;
  OrderedJson frame(const char* object) const;
  std::string event(size_t index, OrderedJson choice) const;
  std::string piece_event(size_t index, const AnswerPiece& piece);
  std::string finish_event(size_t index);
  OrderedJson usage() const;

  CompletionContext context_;
  CompletionOptions options_;
  bool chat_;
  std::vector<Choice> choices_;
  bool over_ = false;
};

// The finish_reason of the API: "stop", "length", "cancelled", "error".
const char* api_finish_reason(FinishReason reason);
// "data: {...}\n\n".
std::string server_sent_event(const OrderedJson& json);

}  // namespace bitsmith
