#include "server/answer.h"

#include <condition_variable>
#include <deque>
#include <mutex>

#include "runtime/answer_text.h"

namespace bitsmith {

// Between the engine's thread, which writes, and the answer's.
struct Answer::Channel {
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<AnswerPiece> pieces;
  std::optional<RequestResult> result;

  void push(AnswerPiece piece) {
    {
      const std::lock_guard lock(mutex);
      pieces.push_back(std::move(piece));
    }
    wake.notify_one();
  }
};

Answer::Answer(EngineThread& engine, const Tokenizer& tokenizer, Request request,
               std::vector<std::string> stop)
    : engine_(engine), channel_(std::make_shared<Channel>()), request_(std::move(request)) {
  const auto channel = channel_;
  const auto text = std::make_shared<AnswerText>(std::move(stop));
  request_.on_prompt = [channel](const std::vector<TokenProbabilities>& prompt) {
    AnswerPiece piece;
    piece.is_prompt = true;
    piece.prompt = prompt;
    channel->push(std::move(piece));
  };
  request_.on_token = [channel, text, &tokenizer](const GeneratedToken& token) {
    AnswerPiece piece;
    if (!token.ends) piece.text = text->push(tokenizer.token_bytes(token.token));
    piece.probabilities = token.probabilities;
    channel->push(std::move(piece));
    return !text->stopped();
  };
  request_.on_finish = [channel, text](const RequestResult& result) {
    AnswerPiece rest;
    rest.text = text->finish();
    if (!rest.text.empty()) channel->push(std::move(rest));
    {
      const std::lock_guard lock(channel->mutex);
      channel->result = result;
    }
    channel->wake.notify_one();
  };
}

void Answer::submit(Engine& engine) { id_ = engine.submit(std::move(request_)); }

Answer::~Answer() {
  if (id_ >= 0) engine_.post([id = id_](Engine& engine) { engine.cancel(id); });
}

std::optional<AnswerPiece> Answer::next(std::chrono::milliseconds most) {
  std::unique_lock lock(channel_->mutex);
  channel_->wake.wait_for(lock, most,
                          [&] { return !channel_->pieces.empty() || channel_->result; });
  if (channel_->pieces.empty()) return std::nullopt;
  AnswerPiece piece = std::move(channel_->pieces.front());
  channel_->pieces.pop_front();
  return piece;
}

bool Answer::finished() const {
  const std::lock_guard lock(channel_->mutex);
  return channel_->result && channel_->pieces.empty();
}

RequestResult Answer::result() const {
  const std::lock_guard lock(channel_->mutex);
  return channel_->result.value();
}

}  // namespace bitsmith
