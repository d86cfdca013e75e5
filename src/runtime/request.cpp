#include "runtime/request.h"

namespace bitsmith {

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndToken:
      return "end";
    case FinishReason::kStopped:
      return "stop_string";
    case FinishReason::kMaxTokens:
      return "max_tokens";
    case FinishReason::kContextFull:
      return "context";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  return "";
}

double RequestResult::prompt_tokens_per_second() const {
  return prompt_seconds > 0 ? static_cast<double>(prompt_tokens) / prompt_seconds : 0;
}

double RequestResult::tokens_per_second() const {
  // The first token comes out of the prompt's run.
  if (tokens.size() < 2 || generate_seconds <= 0) return 0;
  return static_cast<double>(tokens.size() - 1) / generate_seconds;
}

}  // namespace bitsmith
