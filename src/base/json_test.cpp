#include "base/json.h"

#include <gtest/gtest.h>

namespace bitsmith {
namespace {

std::string nested(int depth) {
  return std::string(static_cast<size_t>(depth), '[') +
         std::string(static_cast<size_t>(depth), ']');
}

TEST(JsonTest, DepthIsLimited) {
  EXPECT_NO_THROW(parse_json(nested(100), "file"));
  EXPECT_THROW(parse_json(nested(101), "file"), Error);
  EXPECT_THROW(parse_json(nested(1'000'000), "file"), Error);
  EXPECT_THROW(parse_json(std::string(1'000'000, '['), "file"), Error);
}

TEST(JsonTest, OrderedTextHasTheSameLimits) {
  EXPECT_EQ(parse_ordered_json(R"({"b": 1, "a": 2})", "file").dump(), R"({"b":1,"a":2})");
  for (const std::string& text : {std::string("garbage"), "{\"a\":" + nested(2'000'000) + "}"}) {
    try {
      parse_ordered_json(text, "model/bitsmith.json");
      ADD_FAILURE() << text.substr(0, 20);
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).rfind("model/bitsmith.json: not valid JSON", 0), 0u);
    }
  }
}

TEST(JsonTest, MessagesCarryNoLongOrRawText) {
  const std::string line = "\x1b[31m" + std::string(1 << 20, 'x');
  const std::vector<std::string> texts = {"\"" + line, line, "[\"" + std::string(1 << 20, 'x')};
  std::vector<std::string> messages;
  for (const std::string& text : texts) {
    try {
      parse_json(text, "file");
    } catch (const Error& error) {
      messages.push_back(error.what());
    }
  }
  for (const Json& value : {Json{{"a", line}}, Json{{line, 1}}}) {
    try {
      json_get<int>(value, value.begin().key(), "file");
      json_get<int>(Json::object(), value.begin().key(), "file");
    } catch (const Error& error) {
      messages.push_back(error.what());
    }
  }
  ASSERT_EQ(messages.size(), 5u);
  for (const std::string& message : messages) {
    EXPECT_LT(message.size(), 400u);
    EXPECT_EQ(message.find('\x1b'), message.npos) << message;
  }
}

TEST(JsonTest, BracketsInStringsAreNotDepth) {
  const std::string brackets(500, '[');
  EXPECT_EQ(parse_json("[\"" + brackets + "\"]", "file")[0], brackets);
  EXPECT_EQ(parse_json("[\"\\\"" + brackets + "\"]", "file")[0], "\"" + brackets);
  std::string wide = "[[]";
  for (int i = 0; i < 1000; ++i) wide += ",[]";
  EXPECT_EQ(parse_json(wide + "]", "file").size(), 1001u);
}

TEST(JsonTest, BadTextIsAnErrorThatNamesTheSource) {
  for (const char* text : {"", "{", "{\"a\":}", "[1,]", "nul", "\"\xff\"", "1 2", "{\"a\"1}"}) {
    try {
      parse_json(text, "model/config.json");
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).rfind("model/config.json: not valid JSON", 0), 0u);
    }
  }
}

TEST(JsonTest, MissingKeysAndWrongTypesNameSourceAndKey) {
  const Json value = {{"size", 3}, {"name", "x"}, {"nothing", nullptr}};
  EXPECT_EQ(json_get<int>(value, "size", "s"), 3);
  EXPECT_EQ(json_get_or<int>(value, "absent", 7, "s"), 7);
  EXPECT_EQ(json_get_or<int>(value, "nothing", 7, "s"), 7);
  for (const char* key : {"absent", "name"}) {
    try {
      json_get<int>(value, key, "config.json");
      ADD_FAILURE() << key;
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("config.json"), std::string::npos) << message;
      EXPECT_NE(message.find(key), std::string::npos) << message;
    }
  }
  EXPECT_THROW(json_get<int>(Json(4), "key", "s"), Error);
  // GGUF strings may be any bytes; the message must still come.
  EXPECT_THROW(json_get<int>(Json{{"raw", "\xff\xfe"}}, "raw", "s"), Error);
}

TEST(JsonTest, NumbersThatDoNotFitAreErrors) {
  const Json value = {{"huge", 1e99}, {"half", 0.5}, {"negative", -1}, {"whole", 3.0}};
  EXPECT_THROW(json_get<int64_t>(value, "huge", "x"), Error);
  EXPECT_THROW(json_get<int>(value, "half", "x"), Error);
  EXPECT_THROW(json_get<uint32_t>(value, "negative", "x"), Error);
  EXPECT_EQ(json_get<int>(value, "whole", "x"), 3);
  EXPECT_EQ(json_get<double>(value, "huge", "x"), 1e99);
  const Json lists = {{"good", {1, 2.0}}, {"bad", {1, 1e99}}};
  EXPECT_EQ(json_get<std::vector<int64_t>>(lists, "good", "x"), (std::vector<int64_t>{1, 2}));
  EXPECT_THROW(json_get<std::vector<int64_t>>(lists, "bad", "x"), Error);
}

}  // namespace
}  // namespace bitsmith
