#include "runtime/grammar/json_acceptor.h"

#include <gtest/gtest.h>

#include <string>

#include "runtime/grammar/test_schema.h"

namespace bitsmith {
namespace {

using testing::accepts, testing::AcceptedText;

std::shared_ptr<const JsonForm> any_json() { return compile_json_schema(true); }

bool ends_in_space(const std::string& text) {
  return !text.empty() && std::string_view(" \n\t\r").find(text.back()) != std::string_view::npos;
}

// More digits than a form has.
bool has_long_exponent(const std::string& text) {
  const size_t e = text.find('e');
  return e != text.npos && text.find_first_not_of("0123456789", e + 1) == text.npos &&
         text.size() > e + 3;
}

// All texts of few bytes: those that are JSON are accepted, and no others.
TEST(JsonAcceptor, EveryShortText) {
  const std::string_view alphabet = "{}[]\",:10-.e ";
  JsonAcceptor acceptor(any_json());
  int64_t accepted = 0;
  const auto go_on = [&](const auto& self, const std::string& text,
                         const JsonAcceptor::State& state) -> void {
    if (!ends_in_space(text) && !has_long_exponent(text)) {
      const bool is_json = OrderedJson::accept(text);
      ASSERT_EQ(JsonAcceptor::complete(state), is_json) << text;
      accepted += is_json;
    }
    if (text.size() == 5) return;
    for (const char byte : alphabet) {
      JsonAcceptor::State next;
      acceptor.step(state, static_cast<unsigned char>(byte), next);
      self(self, text + byte, next);
      if (::testing::Test::HasFatalFailure()) return;
    }
  };
  go_on(go_on, "", acceptor.start());
  EXPECT_GT(accepted, 500);
}

OrderedJson random_value(Random& random, int depth) {
  const auto text = [&] {
    static const std::string parts[] = {"a", "\"", "\\", "/",      "\n",     "\x01",
                                        "é", "名", "😀",  "\u2028", "\u007F", "{[,:"};
    std::string all;
    for (size_t i = random.below(4); i > 0; --i) all += parts[random.below(std::size(parts))];
    return all;
  };
  switch (random.below(depth > 0 ? 7 : 5)) {
    case 0:
      return nullptr;
    case 1:
      return random.below(2) == 1;
    case 2:
      return static_cast<int64_t>(random.below(20000)) - 10000;
    case 3:
      return (static_cast<double>(random.below(20000)) - 10000) / 16;
    case 4:
      return text();
    case 5: {
      OrderedJson array = OrderedJson::array();
      for (size_t i = random.below(4); i > 0; --i) array.push_back(random_value(random, depth - 1));
      return array;
    }
    default: {
      OrderedJson object = OrderedJson::object();
      for (size_t i = random.below(4); i > 0; --i) object[text()] = random_value(random, depth - 1);
      return object;
    }
  }
}

// JSON with a few bytes changed: accepted where nlohmann's parser accepts it.
TEST(JsonAcceptor, DamagedJson) {
  Random random(7);
  const auto form = any_json();
  static const std::string bytes =
      "{}[]\",:0123456789-.+ \n\t\\/bfnrtuDd8cCaA\x01\x7F\x80\xBF\xC3\xE0\xED\xF0\xF4\xFF";
  int64_t whole = 0, broken = 0;
  for (int i = 0; i < 20000; ++i) {
    const OrderedJson value = random_value(random, 3);
    std::string text = value.dump(random.below(2) == 1 ? 2 : -1, ' ', random.below(2) == 1);
    for (size_t changes = random.below(3); changes > 0; --changes) {
      const size_t at = random.below(text.size() + 1);
      const char byte = bytes[random.below(bytes.size())];
      if (random.below(2) == 1)
        text.insert(at, 1, byte);
      else if (at < text.size())
        text[at] = byte;
    }
    if (ends_in_space(text)) continue;
    const bool is_json = OrderedJson::accept(text);
    ASSERT_EQ(accepts(form, text), is_json) << text;
    ++(is_json ? whole : broken);
  }
  EXPECT_GT(whole, 5000);
  EXPECT_GT(broken, 5000);
}

TEST(JsonAcceptor, EscapesAndSurrogates) {
  const auto form = any_json();
  for (const char* text :
       {R"("\u0041")", R"("\uD83D\uDE00")", R"("\ud7ff")", R"("\uE000")", R"("\/\b\f\n\r\t\"\\")"})
    EXPECT_TRUE(accepts(form, text)) << text;
  for (const char* text : {R"("\uD83D")", R"("\uDE00")", R"("\uD83Dx")", R"("\uD83D\n")",
                           R"("\uD83D\u0041")", R"("\x41")", R"("\u004")", R"("\u00g0")"})
    EXPECT_FALSE(accepts(form, text)) << text;
}

// Whatever was accepted so far has a way to an end.
TEST(JsonAcceptor, EveryBeginningCanBeCompleted) {
  Random random(3);
  const auto form = any_json();
  for (int i = 0; i < 300; ++i) {
    AcceptedText text(form);
    ASSERT_TRUE(text.finish_at_random(random, static_cast<int>(random.below(60)))) << text.text();
    ASSERT_TRUE(OrderedJson::accept(text.text())) << text.text();
  }
}

TEST(JsonAcceptor, Limits) {
  const auto form = any_json();
  const auto many = [](size_t count, char byte) { return std::string(count, byte); };
  EXPECT_TRUE(accepts(form, many(12, ' ') + "1"));
  EXPECT_FALSE(accepts(form, many(13, ' ') + "1"));
  EXPECT_FALSE(accepts(form, "1 "));
  EXPECT_TRUE(accepts(form, many(15, '9') + "." + many(16, '9') + "e+99"));
  EXPECT_FALSE(accepts(form, many(16, '9')));
  EXPECT_FALSE(accepts(form, "1." + many(17, '9')));
  EXPECT_FALSE(accepts(form, "1e100"));
  EXPECT_TRUE(accepts(form, many(64, '[') + many(64, ']')));
  EXPECT_FALSE(accepts(form, many(65, '[') + many(65, ']')));
}

TEST(JsonAcceptor, FramesThatNothingNeedsAreFreed) {
  JsonAcceptor acceptor(any_json());
  JsonAcceptor::State state = acceptor.start(), next;
  const std::string text = R"({"a": [1, {"b": [[], "c"]}], "d": -0.5e3})";
  for (const char byte : text) {
    acceptor.step(state, static_cast<unsigned char>(byte), next);
    state.swap(next);
    acceptor.keep_only(state);
    ASSERT_FALSE(state.empty());
  }
  EXPECT_TRUE(JsonAcceptor::complete(state));
  EXPECT_FALSE(JsonAcceptor::goes_on(state));
}

// Alternatives that only their ends tell apart: readings are bounded, and what is left is sound.
TEST(JsonAcceptor, ManyReadings) {
  OrderedJson schema = {{"type", "integer"}};
  for (int i = 0; i < 8; ++i) {
    const OrderedJson array = {{"type", "array"}, {"items", schema}, {"minItems", i % 2}};
    schema = {{"anyOf", OrderedJson::array({array, array})}};
  }
  const auto form = compile_json_schema(schema);
  EXPECT_TRUE(accepts(form, "[[[[[[[[5, 6]]]], [[[[7]]]]]]]]"));
  EXPECT_FALSE(accepts(form, "[[[[[[[[5.5]]]]]]]]"));
}

}  // namespace
}  // namespace bitsmith
