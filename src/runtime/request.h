// What an engine is asked for, and what it answers.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "runtime/grammar/token_constraint.h"
#include "runtime/sampler.h"
#include "runtime/token_probabilities.h"

namespace bitsmith {

enum class FinishReason {
  kEndToken,   // the model ended its answer, or its form did
  kStopped,    // on_token wanted no more: a stop string
  kMaxTokens,  // as many tokens as were asked for
  kContextFull,
  kCancelled,
  kError
};
// "end", "stop_string", "max_tokens", "context", "cancelled", "error".
const char* finish_reason_name(FinishReason reason);

struct GeneratedToken {
  int32_t token;
  bool ends;  // an end token: not part of the answer
  std::optional<TokenProbabilities> probabilities;
};

struct RequestResult {
  std::vector<int32_t> tokens;
  FinishReason reason = FinishReason::kMaxTokens;
  std::string error;          // of kError
  int64_t prompt_tokens = 0;  // run for this request
  int64_t shared_tokens = 0;  // of the prompt, whose keys and values were there already
  double queue_seconds = 0, prompt_seconds = 0, generate_seconds = 0;

  double prompt_tokens_per_second() const;
  double tokens_per_second() const;  // of the answer, after its first token
};

struct Request {
  std::vector<int32_t> prompt;  // at least one token
  SamplingOptions sampling;
  uint64_t seed = 0, stream = 0;  // of the Sampler
  int64_t max_tokens = 512;       // 0: the prompt is run, nothing is generated
  std::vector<int64_t> end_tokens = {};
  // What the answer is held to; none: nothing. Of this request alone.
  std::shared_ptr<TokenConstraint> constraint = {};
  std::string client = {};  // whose turn the queue counts it to
  // How many of the likeliest tokens each token's probabilities shall name; none: no probabilities.
  std::optional<int64_t> likeliest = {};
  // Also of the prompt's tokens. All of them are run then.
  bool prompt_probabilities = false;

  // The callbacks come from within step(), cancel() and fail_all(), in this order; they must not
  // call the engine, nor throw.
  // Of prompt[1], prompt[2], ..., once they are known.
  std::function<void(const std::vector<TokenProbabilities>&)> on_prompt = {};
  // For every token as it comes; false stops (kStopped).
  std::function<bool(const GeneratedToken&)> on_token = {};
  std::function<void(const RequestResult&)> on_finish = {};
};

// A request that this engine can never serve: too long, or not of its vocabulary.
class RequestError : public Error {
 public:
  using Error::Error;
};
// It is too long, for the context or for the memory.
class RequestTooLong : public RequestError {
 public:
  using RequestError::RequestError;
};

}  // namespace bitsmith
