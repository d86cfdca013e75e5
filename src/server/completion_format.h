// Completions in the JSON of OpenAI's API: one object, or the server-sent events of a stream.
#pragma once
#include <cstdint>
#include <string>

#include "base/json.h"
#include "runtime/request.h"
#include "server/http.h"

namespace bitsmith {

// Tokens of all choices.
struct CompletionUsage {
  int64_t prompt = 0, completion = 0;
  int64_t shared = 0;  // of the prompts, whose keys and values were there already
};

class CompletionFormat {
 public:
  struct Header {
    bool chat;                     // a chat completion, else a text completion
    std::string id;                // of this completion
    int64_t created;               // seconds since 1970
    std::string model;             // its name in the API
    bool ends_with_usage = false;  // the stream (stream_options.include_usage)
  };
  explicit CompletionFormat(Header header) : header_(std::move(header)) {}
  bool chat() const { return header_.chat; }

  // The one object. `logprobs` may be null, here and below.
  OrderedJson whole(OrderedJson choices, const CompletionUsage& usage) const;
  OrderedJson choice(size_t index, const std::string& text, OrderedJson logprobs,
                     FinishReason reason) const;

  // Of a choice: before everything else (nothing for texts), a piece of its text, its end.
  std::string begin_event(size_t index) const;
  std::string text_event(size_t index, const std::string& text, OrderedJson logprobs) const;
  std::string finish_event(size_t index, FinishReason reason) const;
  // How a stream ends.
  std::string end_events(const CompletionUsage& usage) const;
  static std::string error_events(const HttpError& error);
  // What clients pass over: who has gone is noticed by it.
  static std::string comment_event() { return ": \n\n"; }

 private:
  OrderedJson frame(const char* object) const;
  std::string event(OrderedJson choices, OrderedJson usage) const;
  std::string choice_event(size_t index, OrderedJson content, OrderedJson logprobs,
                           OrderedJson finish_reason) const;

  Header header_;
};

}  // namespace bitsmith
