// A completion request that runs: its answers become a response, or a stream that is told of every
// piece.
#pragma once
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "server/completion_choice.h"
#include "server/completion_format.h"
#include "server/engine_thread.h"
#include "server/http.h"

namespace bitsmith {

// What a request needs of the server.
struct CompletionContext {
  EngineThread& engine;
  const Tokenizer& tokenizer;
  CompletionFormat format;
  int64_t max_queue;  // requests that may wait
  Deadline deadline;
  std::function<bool()> disconnected;
  // A stream that has said nothing for so long says that it is there.
  std::chrono::milliseconds silence = std::chrono::seconds(5);
};

class Completion {
 public:
  // Submits everything. Throws HttpError for what the engine refuses: 400, 503 where too many
  // requests wait or the server stops, and 500 for its own errors.
  Completion(const CompletionContext& context, const CompletionOptions& options,
             std::vector<CompletionPrompt> prompts);

  // Waits for the end. Throws HttpError: 500 for an error of the model, 503 where the server stops,
  // 504 beyond the deadline, 499 where the client has gone.
  OrderedJson whole();
  // The next events of the stream, at least one; empty: it has ended. Errors are the last event.
  std::string next_events();

 private:
  void submit();
  // Throws where the queue has no room. In the engine's thread, so nobody comes in between.
  void check_queue(const Engine& engine) const;
  // Throws beyond the deadline and where the client has gone.
  void check_waiting() const;
  HttpError failure(const std::string& error) const;
  // Appends to `events` before it throws.
  void wait_events(std::string& events);
  // What has come of every choice; then throws for one that failed.
  void take_events(std::string& events);
  void add_piece(size_t index, const AnswerPiece& piece, std::string& events);
  CompletionUsage usage() const;

  CompletionContext context_;
  std::vector<CompletionChoice> choices_;
  std::vector<bool> ended_;  // [choices] its last event was made
  bool over_ = false;        // no events come any more
};

}  // namespace bitsmith
