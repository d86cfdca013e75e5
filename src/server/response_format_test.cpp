// Answers that are held to JSON, through the whole server.
#include <gtest/gtest.h>

#include "runtime/grammar/test_schema.h"
#include "server/test_server.h"

namespace bitsmith {
namespace {

using testing::events_of, testing::question, testing::TestServer;

const OrderedJson kSchema = OrderedJson::parse(R"({
  "type": "object",
  "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 12},
    "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "minItems": 1, "maxItems": 3},
    "parent": {"anyOf": [{"$ref": "#/$defs/short"}, {"type": "null"}]},
    "age": {"type": "integer"}
  },
  "required": ["name", "tags", "parent"],
  "additionalProperties": false,
  "$defs": {"short": {"type": "string", "maxLength": 5}}})");

OrderedJson schema_format() {
  return {{"type", "json_schema"}, {"json_schema", {{"name", "person"}, {"schema", kSchema}}}};
}

TEST(ResponseFormat, AnswersFitTheSchema) {
  TestServer server;
  for (int seed = 0; seed < 20; ++seed) {
    OrderedJson body = question(300);
    body["temperature"] = seed == 0 ? 0.0 : 1.5;
    body["seed"] = seed;
    body["ignore_eos"] = seed % 2 == 1;
    body["response_format"] = schema_format();
    const OrderedJson choice = server.post("/v1/chat/completions", body)["choices"][0];
    ASSERT_EQ(choice["finish_reason"], "stop") << choice;
    const std::string text = choice["message"]["content"];
    ASSERT_TRUE(OrderedJson::accept(text)) << text;
    EXPECT_TRUE(testing::fits_schema(OrderedJson::parse(text), kSchema, kSchema)) << text;
    // Of this seed, whatever ran before.
    EXPECT_EQ(server.post("/v1/chat/completions", body)["choices"][0]["message"]["content"], text);
  }
}

TEST(ResponseFormat, AnyObject) {
  TestServer server;
  const auto form = any_json_object();
  int complete = 0;
  for (int seed = 0; seed < 20; ++seed) {
    const OrderedJson choice = server.post(
        "/v1/completions", {{"prompt", "Anna has"},
                            {"temperature", 1},
                            {"seed", seed},
                            {"max_tokens", 200},
                            {"logprobs", 1},
                            {"response_format", {{"type", "json_object"}}}})["choices"][0];
    const std::string text = choice["text"];
    if (choice["finish_reason"] == "stop") {
      ++complete;
      ASSERT_TRUE(OrderedJson::accept(text)) << text;
      EXPECT_TRUE(OrderedJson::parse(text).is_object()) << text;
    } else {  // cut short, within a character perhaps
      testing::AcceptedText accepted(form);
      EXPECT_TRUE(accepted.take(text.substr(0, text.find("\xEF\xBF\xBD")))) << text;
    }
    // Log-probabilities are the model's own: of tokens that no form forbids, too.
    EXPECT_EQ(choice["logprobs"]["top_logprobs"][0].size(), 1u);
  }
  EXPECT_GT(complete, 0);
}

TEST(ResponseFormat, Streams) {
  TestServer server;
  OrderedJson body = question(300);
  body["response_format"] = schema_format();
  const std::string whole =
      server.post("/v1/chat/completions", body)["choices"][0]["message"]["content"];
  body["stream"] = true;
  std::string text;
  for (const OrderedJson& event :
       events_of(server.ask("POST", "/v1/chat/completions", body.dump())))
    text += event["choices"][0]["delta"].value("content", "");
  EXPECT_EQ(text, whole);
}

TEST(ResponseFormat, RefusalsNameTheKeyword) {
  TestServer server;
  OrderedJson body = question();
  body["response_format"] = schema_format();
  body["response_format"]["json_schema"]["schema"]["properties"]["name"]["pattern"] = "a+";
  const OrderedJson error = server.post("/v1/chat/completions", body, 400)["error"];
  EXPECT_EQ(error["param"], "response_format.json_schema.schema");
  EXPECT_NE(error["message"].get<std::string>().find("'pattern'"), std::string::npos) << error;
}

}  // namespace
}  // namespace bitsmith
