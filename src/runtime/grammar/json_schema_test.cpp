#include <gtest/gtest.h>

#include <string>

#include "runtime/grammar/test_schema.h"

namespace bitsmith {
namespace {

using testing::accepts, testing::AcceptedText, testing::fits_schema;

std::shared_ptr<const JsonForm> compiled(const std::string& schema) {
  return compile_json_schema(OrderedJson::parse(schema));
}

TEST(JsonSchema, Refused) {
  const struct {
    const char *schema, *message;
  } cases[] = {
      {"3", "object, true or false"},
      {R"({"type": "text"})", "'type' must be"},
      {R"({"type": []})", "'type' names no type"},
      {R"({"type": ["string", 3]})", "'type' must be"},
      {R"({"type": ["string", "null", "string"]})", "'type' names string twice"},
      {R"({"type": "string", "pattern": "a+"})", "'pattern' is not supported"},
      {R"({"type": "string", "format": "date"})", "'format' is not supported"},
      {R"({"type": "integer", "minimum": 0})", "'minimum' is not supported"},
      {R"({"properties": {"a": {"oneOf": [{}]}}})", "#/properties/a: the keyword 'oneOf'"},
      {R"({"items": [{}]})", "'items' as an array"},
      {R"({"prefixItems": [{}]})", "'prefixItems' is not supported"},
      {R"({"anyOf": []})", "'anyOf' must be"},
      {R"({"anyOf": {}})", "'anyOf' must be"},
      {R"({"anyOf": [{}], "type": "string"})", "'type' beside 'anyOf'"},
      {R"({"enum": 3})", "'enum' must be an array"},
      {R"({"enum": ["a"], "minLength": 3})", "'minLength' beside 'enum'"},
      {R"({"enum": []})", "no text fits"},
      {R"({"type": "integer", "enum": ["a", 2.5]})", "no text fits"},
      {"false", "no text fits"},
      {R"({"minItems": 3, "maxItems": 2})", "no text fits"},
      {R"({"minItems": -1})", "'minItems' must be"},
      {R"({"minLength": "2"})", "'minLength' must be"},
      {R"({"maxLength": 2.5})", "'maxLength' must be"},
      {R"({"properties": []})", "'properties' must be"},
      {R"({"required": "a"})", "'required' must be"},
      {R"({"required": [3]})", "'required' must be"},
      {R"({"required": ["a"], "additionalProperties": false})", "is no property"},
      {R"({"properties": {"a": {}}, "additionalProperties": {"type": "null"}})",
       "'additionalProperties' beside"},
      {R"({"additionalProperties": 3})", "'additionalProperties' must be"},
      {R"({"additionalProperties": null})", "'additionalProperties' must be"},
      {R"({"additionalProperties": []})", "'additionalProperties' must be"},
      {R"({"$ref": "https://example.org/x"})", "'$ref' must point into"},
      {R"({"$ref": "#name"})", "'$ref' must point into"},
      {R"({"$ref": 3})", "'$ref' must point into"},
      {R"({"$ref": "#/$defs/a"})", "is not there"},
      {R"({"$ref": "#/~2"})", "is not there"},
      {R"({"$ref": "#"})", "no text fits"},
      {R"({"properties": {"a": {"$ref": "#"}}, "required": ["a"]})", "no text fits"},
      {R"({"$defs": {"a": {}}, "$ref": "#/$defs/a", "minItems": 3})", "'minItems' beside '$ref'"},
  };
  for (const auto& [schema, message] : cases) {
    try {
      compiled(schema);
      ADD_FAILURE() << "accepted: " << schema;
    } catch (const JsonSchemaError& error) {
      EXPECT_NE(std::string(error.what()).find(message), std::string::npos)
          << schema << ": " << error.what();
    }
  }
}

TEST(JsonSchema, SizesThatWouldKeepUsBusyAreRefused) {
  OrderedJson many = {{"anyOf", OrderedJson::array()}};
  for (int i = 0; i < 300; ++i) many["anyOf"].push_back({{"const", i}});
  EXPECT_THROW(compile_json_schema(many), JsonSchemaError);
  OrderedJson parts = {{"anyOf", OrderedJson::array()}};
  for (int i = 0; i < 10001; ++i) parts["anyOf"].push_back({{"$ref", "#/anyOf/0"}});
  EXPECT_THROW(compile_json_schema(parts), JsonSchemaError);
  EXPECT_THROW(compile_json_schema({{"const", std::string(2 << 20, 'a')}}), JsonSchemaError);
  // Nested as deep as may be, and one more.
  const auto nested = [](int depth) {
    OrderedJson schema = {{"type", "null"}};
    for (int i = 0; i < depth; ++i)
      schema = {{"type", "array"}, {"items", schema}, {"minItems", 1}};
    return schema;
  };
  EXPECT_TRUE(accepts(compile_json_schema(nested(64)),
                      std::string(64, '[') + "null" + std::string(64, ']')));
  EXPECT_THROW(compile_json_schema(nested(65)), JsonSchemaError);
}

TEST(JsonSchema, ValuesAndTypes) {
  const struct {
    const char* schema;
    std::vector<const char*> good, bad;
  } cases[] = {
      {R"({"type": "integer"})", {"0", "-12", " 7"}, {"1.0", "01", "1e2", "\"1\"", "-", ""}},
      {R"({"type": ["string", "null"]})", {"\"\"", "null", "\"a\""}, {"nul", "0"}},
      {R"({"type": "boolean"})", {"true", "false"}, {"True", "truefalse"}},
      {R"({"enum": [1, 12, 123, "a", null]})",
       {"1", "12", "123", "\"a\"", "null"},
       {"13", "\"b\"", "1234"}},
      {R"({"const": {"a": [1]}})", {R"({"a":[1]})"}, {R"({"a":[2]})", "{}"}},
      {R"({"type": "string", "enum": ["é", 5]})", {"\"é\""}, {"5", "\"e\""}},
      {R"({"minLength": 2, "maxLength": 3})",
       {"\"ab\"", "\"é名😀\"", R"("\uD83D\uDE00\n")"},
       {"\"a\"", "\"abcd\"", "\"é\"", "2"}},
      {R"({"items": {"type": "integer"}, "minItems": 1, "maxItems": 2})",
       {"[1]", "[1, 2]"},
       {"[]", "[1,2,3]", "[1,]", "[\"a\"]"}},
      {R"({"type": "array", "maxItems": 0})", {"[]", "[ ]"}, {"[1]"}},
      {R"({"type": "object", "additionalProperties": {"type": "null"}})",
       {"{}", R"({"a": null, "b":null})"},
       {R"({"a": 1})", R"({"a": null,})"}},
      {R"({"type": "object", "additionalProperties": false})", {"{}", "{ }"}, {R"({"a": 1})"}},
      {R"({"required": ["b", "a"]})", {R"({"a": [], "b": 1})"}, {"{}", R"({"a": 1})"}},
  };
  for (const auto& [schema, good, bad] : cases) {
    const auto form = compiled(schema);
    for (const char* text : good) EXPECT_TRUE(accepts(form, text)) << schema << ": " << text;
    for (const char* text : bad) EXPECT_FALSE(accepts(form, text)) << schema << ": " << text;
  }
}

TEST(JsonSchema, PropertiesComeInTheirOrder) {
  const auto form = compiled(R"({"type": "object", "properties": {
      "b": {"type": "integer"}, "a": {"type": "null"}, "a\"b": true, "ab": {"enum": []}},
      "required": ["a"]})");
  for (const char* text : {R"({"a":null})", R"({"b":1,"a":null})", R"({ "b" : 1 , "a" : null } )",
                           R"({"a":null,"a\"b":[]})"}) {
    std::string trimmed = text;
    trimmed.erase(trimmed.find_last_not_of(' ') + 1);
    EXPECT_TRUE(accepts(form, trimmed)) << text;
  }
  for (const char* text :
       {"{}", R"({"b":1})", R"({"a":null,"b":1})", R"({"a":null,})", R"({,"a":null})",
        R"({"a":null,"ab":1})", R"({"a":null,"c":1})", R"({"a":null "b":1})"})
    EXPECT_FALSE(accepts(form, text)) << text;
}

TEST(JsonSchema, Recursion) {
  const auto form = compiled(R"({"$ref": "#/$defs/tree", "$defs": {"tree": {"anyOf": [
      {"$ref": "#/$defs/tree"}, {"type": "null"},
      {"properties": {"left": {"$ref": "#/$defs/tree"}, "right": {"$ref": "#/$defs/tree"}},
       "required": ["left", "right"], "additionalProperties": false}]}}})");
  EXPECT_TRUE(accepts(form, R"({"left": null, "right": {"left": null, "right": null}})"));
  EXPECT_FALSE(accepts(form, R"({"left": null})"));
  // As deep as may be; then only what closes is left.
  std::string text;
  for (int i = 0; i < 64; ++i) text += R"({"left":)";
  AcceptedText deep(form);
  ASSERT_TRUE(deep.take(text));
  EXPECT_FALSE(deep.may_take('{'));
  EXPECT_TRUE(deep.may_take('n'));
}

OrderedJson random_schema(Random& random, int depth) {
  const auto sizes = [&](OrderedJson schema, const char* least, const char* most) {
    const size_t low = random.below(3);
    if (random.below(2)) schema[least] = low;
    if (random.below(2)) schema[most] = low + random.below(3);
    return schema;
  };
  switch (random.below(depth > 0 ? 10 : 6)) {
    case 0:
      return {{"type", "integer"}};
    case 1:
      return {{"type", OrderedJson::array({"number", "null"})}};
    case 2:
      return {{"type", "boolean"}};
    case 3:
      return {{"enum", OrderedJson::array({"a", "ab", 1, 12, true, nullptr, -0.5})}};
    case 4:
    case 5:
      return sizes({{"type", "string"}}, "minLength", "maxLength");
    case 6:
      return sizes({{"type", "array"}, {"items", random_schema(random, depth - 1)}}, "minItems",
                   "maxItems");
    case 7:
      return {{"anyOf", OrderedJson::array(
                            {random_schema(random, depth - 1), random_schema(random, depth - 1)})}};
    case 8:
      return {{"type", "object"}, {"additionalProperties", random_schema(random, depth - 1)}};
    default: {
      OrderedJson schema = {{"type", "object"},
                            {"properties", OrderedJson::object()},
                            {"required", OrderedJson::array()},
                            {"additionalProperties", false}};
      for (const char* key : {"a", "ab", "é\"", "b"}) {
        if (random.below(2)) continue;
        schema["properties"][key] = random_schema(random, depth - 1);
        if (random.below(2)) schema["required"].push_back(key);
      }
      return schema;
    }
  }
}

// A value of such a schema.
OrderedJson random_value_of(Random& random, const OrderedJson& schema) {
  const auto size = [&](const char* least, const char* most) {
    const size_t low = schema.value(least, size_t{0});
    return low + random.below(schema.value(most, low + 3) - low + 1);
  };
  if (schema.contains("anyOf")) return random_value_of(random, schema["anyOf"][random.below(2)]);
  if (schema.contains("enum")) return schema["enum"][random.below(schema["enum"].size())];
  if (schema["type"].is_array())
    return random.below(2) ? OrderedJson() : OrderedJson(static_cast<double>(random.below(99)) / 8);
  const std::string type = schema["type"];
  if (type == "integer") return random.below(1000);
  if (type == "boolean") return random.below(2) == 1;
  if (type == "string") {
    std::string text;
    for (size_t i = size("minLength", "maxLength"); i > 0; --i)
      text += std::vector<std::string>{"x", "\"", "\n", "é", "😀"}[random.below(5)];
    return text;
  }
  if (type == "array") {
    OrderedJson array = OrderedJson::array();
    for (size_t i = size("minItems", "maxItems"); i > 0; --i)
      array.push_back(random_value_of(random, schema["items"]));
    return array;
  }
  OrderedJson object = OrderedJson::object();
  if (!schema.contains("properties")) {
    for (size_t i = random.below(3); i > 0; --i)
      object[concat("key", i)] = random_value_of(random, schema["additionalProperties"]);
    return object;
  }
  for (const auto& [key, value] : schema["properties"].items()) {
    const OrderedJson& required = schema["required"];
    if (std::find(required.begin(), required.end(), key) != required.end() || random.below(2))
      object[key] = random_value_of(random, value);
  }
  return object;
}

// Against the plain reading of the schema: what fits is accepted, what is accepted fits.
TEST(JsonSchema, RandomSchemas) {
  Random random(11);
  static const std::string bytes = "{}[]\",:01-. abn";
  for (int i = 0; i < 400; ++i) {
    const OrderedJson schema = random_schema(random, 3);
    const auto form = compile_json_schema(schema);
    for (int k = 0; k < 5; ++k) {
      const OrderedJson value = random_value_of(random, schema);
      ASSERT_TRUE(fits_schema(value, schema, schema)) << schema << value;
      std::string text = value.dump(random.below(2) ? 2 : -1);
      ASSERT_TRUE(accepts(form, text)) << schema << text;
      text[random.below(text.size())] = bytes[random.below(bytes.size())];
      if (accepts(form, text)) {
        ASSERT_TRUE(OrderedJson::accept(text)) << schema << text;
        ASSERT_TRUE(fits_schema(OrderedJson::parse(text), schema, schema)) << schema << text;
      }
    }
    AcceptedText drawn(form);
    ASSERT_TRUE(drawn.finish_at_random(random, 30)) << schema << drawn.text();
    ASSERT_TRUE(fits_schema(OrderedJson::parse(drawn.text()), schema, schema))
        << schema << drawn.text();
  }
}

}  // namespace
}  // namespace bitsmith
