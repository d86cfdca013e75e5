// One request on its way through the engine, seen from the thread that serves it.
#pragma once
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/text_model.h"
#include "server/engine_thread.h"

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
  // Submits the request, whose callbacks are the answer's own. Throws what Engine::submit throws.
  // The tokenizer outlives the answer.
  Answer(EngineThread& engine, const Tokenizer& tokenizer, Request request,
         std::vector<std::string> stop);
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
  RequestId id_ = 0;
};

}  // namespace bitsmith
