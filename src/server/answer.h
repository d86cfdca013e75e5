// One request on its way through the engine, seen from the thread that serves it.
#pragma once
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/engine_thread.h"
#include "tokenizer/tokenizer.h"

namespace bitsmith {

// What came with one token; or, first of all, of the prompt.
struct AnswerPiece {
  std::string text;  // whole characters; may be empty
  std::optional<TokenProbabilities> probabilities;
  bool is_prompt = false;                  // the first piece: the prompt was read
  std::vector<TokenProbabilities> prompt;  // its tokens' but the first's, if they were asked for
};

class Answer {
 public:
  // The request's callbacks are the answer's own. The tokenizer outlives the answer.
  Answer(EngineThread& engine, const Tokenizer& tokenizer, Request request,
         std::vector<std::string> stop);
  // Once, in the engine's thread. Throws what Engine::submit throws.
  void submit(Engine& engine);
  // Cancels what has not ended.
  ~Answer();
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

  // Waits for the next piece, at most so long; nothing: none came, or finished().
  std::optional<AnswerPiece> next(std::chrono::milliseconds most);
  // Whether all pieces were handed out and the request has ended.
  bool finished() const;
  RequestResult result() const;  // once finished()

 private:
  struct Channel;

  EngineThread& engine_;
  std::shared_ptr<Channel> channel_;
  Request request_;    // until it is submitted
  RequestId id_ = -1;  // from then on
};

}  // namespace bitsmith
