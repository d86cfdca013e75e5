#include "runtime/grammar/json_constraint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "runtime/grammar/test_schema.h"

namespace bitsmith {
namespace {

// Tokens as a byte-level vocabulary has them, and two that end a text.
class FakeTokenizer : public Tokenizer {
 public:
  explicit FakeTokenizer(std::vector<std::string> tokens) : tokens_(std::move(tokens)) {}
  std::vector<int32_t> encode(std::string_view, bool, ParseSpecial,
                              const Deadline&) const override {
    return {};
  }
  std::string decode(std::span<const int32_t>, bool) const override { return ""; }
  std::string token_bytes(int32_t id) const override { return tokens_[static_cast<size_t>(id)]; }
  int32_t vocab_size() const override { return static_cast<int32_t>(tokens_.size()); }
  std::optional<int32_t> token_id(std::string_view token) const override {
    const auto found = std::ranges::find(tokens_, token);
    if (found == tokens_.end()) return std::nullopt;
    return static_cast<int32_t>(found - tokens_.begin());
  }
  std::vector<std::string> special_tokens() const override { return {"<end>", "<more>"}; }

 private:
  std::vector<std::string> tokens_;
};

constexpr int32_t kEnd = 0;

FakeTokenizer some_tokenizer() {
  std::vector<std::string> tokens = {"<end>", "<more>", ""};
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  for (const char* token :
       {"{\"", "\":",   "\": ",    "\",",      "\", \"",   "\"}",      "\"]}",  "\"},\n",
        "[[",  "]]",    "ab",      "abc",      "abcdefgh", "a\"",      "ab\":", " a",
        "  ",  "\n  ",  "12",      "1.5",      "-1",       "true",     "null",  "}}",
        "\\n", "\\u00", "\\uD83D", "\xC3\xA9", "\xF0\x9F", "\x98\x80", "\xA9z", "é名",
        "a\n", "ab",    "\"a\":",  "\"ab\"",   "0\"",      "e1"})
    tokens.emplace_back(token);
  return FakeTokenizer(std::move(tokens));
}

const char* const kSchemas[] = {
    "true",
    R"({"type": "object"})",
    R"({"type": "string", "maxLength": 9, "minLength": 3})",
    R"({"anyOf": [{"type": "string"}, {"type": "string", "maxLength": 2},
                  {"enum": ["abcde", "ab", 12]}, {"items": {"type": "string"}}]})",
    R"({"properties": {"a": {"type": "string"}, "ab": {"type": "number"}, "abc": {"enum": ["x", "ab"]}},
        "required": ["ab"], "additionalProperties": false})",
};

// Token by token: does the acceptor take its bytes?
TEST(JsonConstraint, AllowsTheTokensThatTheAcceptorTakes) {
  const FakeTokenizer tokenizer = some_tokenizer();
  const TokenTrie trie(tokenizer);
  Random random(5);
  for (const char* schema : kSchemas) {
    const auto form = compile_json_schema(OrderedJson::parse(schema));
    for (int i = 0; i < 30; ++i) {
      JsonConstraint constraint(form, trie, {kEnd, 5000});
      std::string text;
      for (int step = 0; step < 25 && !constraint.finished(); ++step) {
        const TokenSet allowed = constraint.allowed();
        std::vector<int32_t> choices;
        for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
          testing::AcceptedText accepted(form);
          accepted.take(text);
          const bool expected =
              id == kEnd ? accepted.complete() : id > 2 && accepted.take(tokenizer.token_bytes(id));
          ASSERT_EQ(has_token(allowed, id), expected) << schema << text << "|" << id;
          if (expected && id > 2) choices.push_back(id);
        }
        ASSERT_FALSE(choices.empty()) << schema << text;
        // Long tokens come last, and are rare.
        const bool is_long = choices.back() > 258 && random.below(2) == 1;
        int32_t token = choices[random.below(choices.size())];
        while (is_long && token <= 258) token = choices[random.below(choices.size())];
        constraint.advance(token);
        text += tokenizer.token_bytes(token);
      }
    }
  }
}

TEST(JsonConstraint, LogitsOfAllOthersBecomeMinusInfinity) {
  const FakeTokenizer tokenizer = some_tokenizer();
  const TokenTrie trie(tokenizer);
  JsonConstraint constraint(compile_json_schema({{"type", "integer"}}), trie, {kEnd});
  std::vector<float> logits(static_cast<size_t>(tokenizer.vocab_size()) + 7, 1.0f);
  constraint.restrict(logits);
  for (size_t i = 0; i < logits.size(); ++i) {
    const std::string token =
        i < logits.size() - 7 ? tokenizer.token_bytes(static_cast<int32_t>(i)) : "";
    const bool may_begin =
        i > 2 && !token.empty() &&
        (token.find_first_not_of(" \n\t\r") == token.npos || token == "-" || token == "-1" ||
         token == "12" ||
         (token.size() == 1 && std::isdigit(static_cast<unsigned char>(token[0]))));
    EXPECT_EQ(std::isinf(logits[i]), !may_begin) << token;
  }
  EXPECT_FALSE(constraint.finished());
}

TEST(JsonConstraint, AReadingIsNotCrowdedOutWithinAToken) {
  OrderedJson schema = OrderedJson::parse(R"({"anyOf": [
      {"type": "object", "additionalProperties": {"anyOf": []}},
      {"type": "object", "additionalProperties": {"type": "object"}}]})");
  for (size_t i = 0; i <= JsonAcceptor::kMostReadings; ++i)
    schema["anyOf"][0]["additionalProperties"]["anyOf"].push_back(
        {{"type", "object"}, {"additionalProperties", false}});
  const FakeTokenizer tokenizer({"<end>", "<more>", "{\"", "a", "\":{\"", "\":{}}", "\":1}}"});
  const TokenTrie trie(tokenizer);
  JsonConstraint constraint(compile_json_schema(schema), trie, {kEnd});
  for (const int32_t token : {2, 3, 4, 3, 6}) {
    ASSERT_TRUE(has_token(constraint.allowed(), token)) << token;
    constraint.advance(token);
  }
  EXPECT_TRUE(has_token(constraint.allowed(), kEnd));
  EXPECT_TRUE(constraint.finished());
}

TEST(JsonConstraint, ATokenThatIsNotAllowedEndsTheAnswer) {
  const FakeTokenizer tokenizer = some_tokenizer();
  const TokenTrie trie(tokenizer);
  JsonConstraint constraint(any_json_object(), trie, {kEnd});
  constraint.advance(*tokenizer.token_id("]]"));
  EXPECT_TRUE(constraint.finished());
}

// One that the tokenizer takes for text.
TEST(JsonConstraint, AnEndTokenComesOnlyAtTheEnd) {
  const FakeTokenizer tokenizer = some_tokenizer();
  const TokenTrie trie(tokenizer);
  const int32_t end = *tokenizer.token_id("abc"), other = *tokenizer.token_id("ab");
  JsonConstraint constraint(any_json_object(), trie, {end});
  for (const char* token : {"{\"", "a", "\":", "1", "}"}) {
    EXPECT_FALSE(has_token(constraint.allowed(), end)) << token;
    constraint.advance(*tokenizer.token_id(token));
    if (std::string(token) == "a") {
      EXPECT_TRUE(has_token(constraint.allowed(), other));
    }
  }
  EXPECT_TRUE(has_token(constraint.allowed(), end));
}

TEST(JsonConstraint, AVocabularyWithoutTheBytesIsAnError) {
  const FakeTokenizer tokenizer({"<end>", "<more>", "{", "a"});
  const TokenTrie trie(tokenizer);
  JsonConstraint constraint(any_json_object(), trie, {kEnd});
  std::vector<float> logits(4, 0.0f);
  constraint.restrict(logits);
  constraint.advance(2);
  EXPECT_THROW(constraint.restrict(logits), Error);
}

}  // namespace
}  // namespace bitsmith
