// The bodies of /v1/chat/completions and /v1/completions, read strictly.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "runtime/grammar/json_form.h"
#include "runtime/sampler.h"
#include "server/json_fields.h"
#include "tokenizer/chat_template.h"

namespace bitsmith {

// What both have in common.
struct CompletionOptions {
  std::string model;  // empty: the server's
  SamplingOptions sampling;
  std::optional<uint64_t> seed;
  std::optional<int64_t> max_tokens;
  std::vector<std::string> stop;
  bool ignore_eos = false;                    // end tokens do not end the answer
  std::shared_ptr<const JsonForm> form = {};  // what the answer is held to; none: nothing
  bool stream = false;
  bool include_usage = false;        // of a stream
  std::optional<int64_t> likeliest;  // log-probabilities are wanted, with so many tokens in place
  static constexpr int64_t kMostLikeliest = 20;
  static constexpr size_t kMostStops = 16, kMostPrompts = 256;
};

struct ChatCompletionRequest {
  CompletionOptions options;
  ChatRequest chat;
};

struct TextCompletionRequest {
  using Prompt = std::variant<std::string, std::vector<int32_t>>;
  CompletionOptions options;
  std::vector<Prompt> prompts;  // at least one
  bool echo = false;            // the prompt is part of the text, and of the log-probabilities
};

// Throw HttpError 400 that names the field. Ids of prompts are checked by the engine.
ChatCompletionRequest read_chat_completion(const std::string& body);
TextCompletionRequest read_text_completion(const std::string& body);
// The object that a body is.
OrderedJson read_body(const std::string& body);
// Ids of a prompt: integers that a token id can be.
std::vector<int32_t> read_ids(const OrderedJson& array, const std::string& name);

}  // namespace bitsmith
