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

// Of an answer: JSON that fits the schema, or the beginning of such where it was cut short.
// Whether it is whole.
bool expect_fits(const OrderedJson& choice, const std::string& text, const OrderedJson& schema) {
  if (choice["finish_reason"] == "stop") {
    const bool is_json = OrderedJson::accept(text);
    EXPECT_TRUE(is_json) << text;
    EXPECT_TRUE(is_json && testing::fits_schema(OrderedJson::parse(text), schema, schema)) << text;
    return true;
  }
  EXPECT_EQ(choice["finish_reason"], "length");
  testing::AcceptedText accepted(compile_json_schema(schema));
  // Perhaps cut within a character.
  EXPECT_TRUE(accepted.take(text.substr(0, text.find("\xEF\xBF\xBD")))) << text;
  return false;
}

TEST(ResponseFormat, AnswersFitTheSchema) {
  TestServer server;
  int whole = 0;
  for (int seed = 0; seed < 20; ++seed) {
    OrderedJson body = question(200);
    body["temperature"] = seed == 0 ? 0.0 : 1.5;
    body["seed"] = seed;
    body["ignore_eos"] = seed % 2 == 1;
    body["response_format"] = schema_format();
    const OrderedJson choice = server.post("/v1/chat/completions", body)["choices"][0];
    const std::string text = choice["message"]["content"];
    whole += expect_fits(choice, text, kSchema);
    // Of this seed, whatever ran before.
    EXPECT_EQ(server.post("/v1/chat/completions", body)["choices"][0]["message"]["content"], text);
  }
  EXPECT_GT(whole, 0);
}

TEST(ResponseFormat, AnyObject) {
  TestServer server;
  for (int seed = 0; seed < 20; ++seed) {
    const OrderedJson json =
        server.post("/v1/completions", {{"prompt", "Anna has"},
                                        {"temperature", 1},
                                        {"seed", seed},
                                        {"max_tokens", 100},
                                        {"logprobs", 1},
                                        {"response_format", {{"type", "json_object"}}}});
    const OrderedJson& choice = json["choices"][0];
    expect_fits(choice, choice["text"], {{"type", "object"}});
    // Log-probabilities are the model's own: of tokens that the form forbids, too.
    EXPECT_EQ(choice["logprobs"]["top_logprobs"][0].size(), 1u);
  }
}

TEST(ResponseFormat, Streams) {
  TestServer server;
  OrderedJson body = question(100);
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
