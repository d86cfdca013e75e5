#include "server/completion_request.h"

#include <gtest/gtest.h>

#include "server/http.h"

namespace bitsmith {
namespace {

struct Case {
  const char* body;
  const char* param;    // of the error
  const char* message;  // a part of it
};

template <typename Read>
void expect_refused(const Case& bad, const Read& read) {
  try {
    read(bad.body);
    ADD_FAILURE() << "accepted: " << bad.body;
  } catch (const HttpError& error) {
    EXPECT_EQ(error.details().status, 400) << bad.body;
    EXPECT_EQ(error.details().param, bad.param) << bad.body;
    EXPECT_NE(std::string(error.what()).find(bad.message), std::string::npos)
        << bad.body << ": " << error.what();
  }
}

TEST(ChatCompletionRequest, Refused) {
  const Case cases[] = {
      {"", "", "JSON"},
      {"[]", "", "object"},
      {"{\"messages\": [", "", "JSON"},
      {"\xFF", "", "JSON"},
      {R"({"messages": [{"role": "user", "content": ")"
       "\xC3\x28"
       R"("}]})",
       "", "JSON"},
      {"{}", "messages", "at least one"},
      {R"({"messages": []})", "messages", "at least one"},
      {R"({"messages": "hi"})", "messages", "array"},
      {R"({"messages": ["hi"]})", "messages[0]", "object"},
      {R"({"messages": [{"content": "a"}]})", "messages[0].role", "string"},
      {R"({"messages": [{"role": 1, "content": "a"}]})", "messages[0].role", "string"},
      {R"({"messages": [{"role": "user"}]})", "messages[0].content", "missing"},
      {R"({"messages": [{"role": "user", "content": 5}]})", "messages[0].content", "the number 5"},
      {R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})",
       "messages[0].content[0].type", "text"},
      {R"({"messages": [{"role": "user", "content": [{"type": "text"}]}]})",
       "messages[0].content[0].text", "missing"},
      {R"({"messages": [{"role": "user", "content": ["a"]}]})", "messages[0].content[0]", "object"},
      {R"({"messages": [{"role": "assistant", "tool_calls": [{}]}]})",
       "messages[0].tool_calls[0].function", "object"},
      {R"({"messages": [{"role": "assistant", "tool_calls":
           [{"function": {"name": "f", "arguments": "{"}}]}]})",
       "messages[0].tool_calls[0].function.arguments", "JSON"},
  };
  for (const Case& bad : cases) expect_refused(bad, read_chat_completion);
}

TEST(ChatCompletionRequest, OptionsRefused) {
  const Case cases[] = {
      {R"("temperature": -0.1)", "temperature", "from 0 to 2"},
      {R"("temperature": "hot")", "temperature", "a string"},
      {R"("temperature": true)", "temperature", "a boolean"},
      {R"("top_p": 0)", "top_p", "above 0"},
      {R"("top_p": 1.5)", "top_p", "from 0 to 1"},
      {R"("top_k": -1)", "top_k", "integer"},
      {R"("top_k": 1.5)", "top_k", "integer"},
      {R"("min_p": 2)", "min_p", "from 0 to 1"},
      {R"("repetition_penalty": 0)", "repetition_penalty", "from"},
      {R"("max_tokens": 0)", "max_tokens", "at least 1"},
      {R"("max_tokens": 99999999999999999999)", "max_tokens", "integer"},
      {R"("max_completion_tokens": 0)", "max_completion_tokens", "integer"},
      {R"("seed": "x")", "seed", "integer"},
      {R"("seed": 18446744073709551615)", "seed", "integer"},
      {R"("stop": 5)", "stop", "string"},
      {R"("stop": "")", "stop", "empty"},
      {R"("stop": ["a", ""])", "stop[1]", "empty"},
      {R"("stop": ["a", 3])", "stop[1]", "the number 3"},
      {R"("stop": ["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"])",
       "stop", "at most 16"},
      {R"("ignore_eos": 1)", "ignore_eos", "true or false"},
      {R"("stream": "yes")", "stream", "true or false"},
      {R"("stream_options": {"include_usage": true})", "stream_options", "stream"},
      {R"("stream": true, "stream_options": {"usage": true})", "stream_options.usage", "no field"},
      {R"("n": 2)", "n", "must be 1"},
      {R"("presence_penalty": 0.5)", "presence_penalty", "must be 0"},
      {R"("logit_bias": {"5": 1})", "logit_bias", "empty"},
      {R"("top_logprobs": 3)", "top_logprobs", "logprobs"},
      {R"("logprobs": 3)", "logprobs", "true or false"},
      {R"("logprobs": true, "top_logprobs": 21)", "top_logprobs", "from 0 to 20"},
      {R"("response_format": {"type": "xml"})", "response_format.type", "json_schema"},
      {R"("response_format": {"type": "json_schema"})", "response_format.json_schema", "goes with"},
      {R"("response_format": {"type": "json_object", "json_schema": {}})",
       "response_format.json_schema", "goes with"},
      {R"("response_format": {"type": "json_schema", "json_schema": {"name": "a"}})",
       "response_format.json_schema.schema", "missing"},
      {R"("response_format": {"type": "json_schema", "json_schema": {"schema": {"pattern": "a"}}})",
       "response_format.json_schema.schema", "'pattern' is not supported"},
      {R"("response_format": {"type": "json_schema", "json_schema": {"schema": {}, "grammar": 1}})",
       "response_format.json_schema.grammar", "no field"},
      {R"("tools": {})", "tools", "array"},
      {R"("tools": [3])", "tools[0]", "object"},
      {R"("tool_choice": "required")", "tool_choice", "auto"},
      {R"("chat_template_kwargs": {"messages": []})", "chat_template_kwargs.messages", "chat"},
      {R"("model": 7)", "model", "string"},
      {R"("frobnicate": 1)", "frobnicate", "no field"},
  };
  for (const Case& bad : cases) {
    const std::string body =
        std::string(R"({"messages": [{"role": "user", "content": "a"}], )") + bad.body + "}";
    expect_refused({body.c_str(), bad.param, bad.message}, read_chat_completion);
  }
}

TEST(ChatCompletionRequest, EverythingIsRead) {
  const auto request = read_chat_completion(R"({
      "model": "m", "temperature": 0.5, "top_p": 0.9, "top_k": 40.0, "min_p": 0.1,
      "repetition_penalty": 1.1, "seed": -1, "max_tokens": 5, "max_completion_tokens": 7,
      "stop": ["a", "b"], "stream": true, "stream_options": {"include_usage": true},
      "logprobs": true, "top_logprobs": 2, "n": 1, "presence_penalty": 0.0, "user": "me",
      "logit_bias": null, "response_format": {"type": "text"}, "tool_choice": "auto",
      "chat_template_kwargs": {"enable_thinking": false},
      "tools": [{"type": "function", "function": {"name": "f"}}],
      "messages": [
        {"role": "system", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": null, "tool_calls": [
          {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}}]}]})");
  EXPECT_EQ(request.options.model, "m");
  EXPECT_EQ(request.options.sampling.temperature, 0.5);
  EXPECT_EQ(request.options.sampling.top_k, 40);
  EXPECT_EQ(request.options.seed, UINT64_MAX);
  EXPECT_EQ(request.options.max_tokens, 7);
  EXPECT_EQ(request.options.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(request.options.stream && request.options.include_usage);
  EXPECT_EQ(request.options.likeliest, 2);
  EXPECT_EQ(request.chat.messages[0]["content"], "ab");
  EXPECT_EQ(request.chat.messages[1]["tool_calls"][0]["function"]["arguments"]["x"], 1);
  EXPECT_EQ(request.chat.tools.size(), 1u);
  EXPECT_EQ(request.chat.variables["enable_thinking"], false);
}

TEST(TextCompletionRequest, Refused) {
  const Case cases[] = {
      {"{}", "prompt", "missing"},
      {R"({"prompt": 5})", "prompt", "must be"},
      {R"({"prompt": []})", "prompt", "must be"},
      {R"({"prompt": [1, "a"]})", "prompt[1]", "token id"},
      {R"({"prompt": [1, -2]})", "prompt[1]", "token id"},
      {R"({"prompt": [1, 2.5]})", "prompt[1]", "token id"},
      {R"({"prompt": [1, 4294967296]})", "prompt[1]", "token id"},
      {R"({"prompt": [[1], {}]})", "prompt[1]", "must be"},
      {R"({"prompt": [[1], ["a"]]})", "prompt[1][0]", "token id"},
      {R"({"prompt": "a", "best_of": 3})", "best_of", "must be 1"},
      {R"({"prompt": "a", "suffix": "b"})", "suffix", "empty"},
      {R"({"prompt": "a", "echo": 1})", "echo", "true or false"},
      {R"({"prompt": "a", "logprobs": 30})", "logprobs", "from 0 to 20"},
      {R"({"prompt": "a", "logprobs": true})", "logprobs", "integer"},
      {R"({"prompt": "a", "max_tokens": 0})", "max_tokens", "echo"},
      {R"({"prompt": "a", "messages": []})", "messages", "no field"},
  };
  for (const Case& bad : cases) expect_refused(bad, read_text_completion);
  std::string prompts = "{\"prompt\": [";
  for (int i = 0; i < 257; ++i) prompts += i ? ",\"a\"" : "\"a\"";
  expect_refused({(prompts + "]}").c_str(), "prompt", "at most 256"}, read_text_completion);
}

// Their reading would be quadratic.
TEST(CompletionRequest, ObjectsOfManyKeysAreRefused) {
  const auto object = [](int keys) {
    std::string text = "{";
    for (int i = 0; i < keys; ++i) text += concat(i ? "," : "", "\"k", i, "\":0");
    return text + "}";
  };
  const std::string many = object(300'000);
  expect_refused({many.c_str(), "", "more than 1000 keys"}, read_text_completion);
  const std::string variables =
      concat(R"({"messages": [{"role": "user", "content": "a:b"}], "chat_template_kwargs": )",
             object(1000), "}");
  EXPECT_EQ(read_chat_completion(variables).chat.variables.size(), 1000u);
}

TEST(TextCompletionRequest, FormsOfThePrompt) {
  using Ids = std::vector<int32_t>;
  const auto prompts = [](const std::string& form) {
    return read_text_completion("{\"prompt\": " + form + "}").prompts;
  };
  EXPECT_EQ(std::get<std::string>(prompts("\"a\"")[0]), "a");
  EXPECT_EQ(std::get<Ids>(prompts("[1, 2]")[0]), (Ids{1, 2}));
  EXPECT_EQ(std::get<std::string>(prompts("[\"a\", \"b\"]")[1]), "b");
  EXPECT_EQ(std::get<Ids>(prompts("[[1], [2, 3]]")[1]), (Ids{2, 3}));
  EXPECT_EQ(
      read_text_completion(R"({"prompt": "a", "best_of": 1, "logprobs": 0})").options.likeliest, 0);
}

}  // namespace
}  // namespace bitsmith
