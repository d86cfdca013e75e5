#include "tokenizer/tokenizer_json.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "base/random.h"
#include "tokenizer/tiny_tokenizers.h"
#include "tokenizer/utf8.h"

namespace bitsmith {
namespace {

using Ids = std::vector<int32_t>;

std::unique_ptr<Tokenizer> load(const Json& json) {
  return parse_tokenizer_json(json.dump(), "tiny.json");
}

std::string error_of(const Json& json) {
  try {
    load(json);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(TokenizerJson, ByteLevelKnownIds) {
  const auto t = load(byte_level_json(english_merges()));
  EXPECT_EQ(t->encode("the cat at"), (Ids{kThe, kSpaceCat, ' ', kAt}));
  EXPECT_EQ(t->encode("cat the"), (Ids{kCat, kSpaceThe}));
  EXPECT_EQ(t->encode("th\n"), (Ids{kTh, '\n'}));
  EXPECT_EQ(t->encode(""), Ids{});
  EXPECT_EQ(t->vocab_size(), kEnd + 1);
  EXPECT_EQ(t->token_id("\u0120the"), kSpaceThe);
  EXPECT_EQ(t->token_id("<|end|>"), kEnd);
  EXPECT_EQ(t->token_id("dog"), std::nullopt);
  EXPECT_EQ(t->token_bytes(kSpaceThe), " the");
  EXPECT_EQ(t->token_bytes(0xE9), "\xE9");
  EXPECT_EQ(t->decode(Ids{kThe, kSpaceCat}), "the cat");
  EXPECT_THROW(t->decode(Ids{kEnd + 1}), Error);
  EXPECT_THROW(t->decode(Ids{-1}), Error);
  EXPECT_THROW(t->token_bytes(kEnd + 1), Error);
}

TEST(TokenizerJson, BothSpellingsOfMergesAreOneTokenizer) {
  const Json pairs = byte_level_json(english_merges());
  Json strings = pairs;
  for (Json& merge : strings["model"]["merges"])
    merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  const std::string text = "the other cat, that thatched";
  EXPECT_EQ(load(pairs)->encode(text), load(strings)->encode(text));
}

TEST(TokenizerJson, AnyBytesRoundTripUpToRepair) {
  const auto t = load(byte_level_json(english_merges()));
  Random random(5);
  for (int round = 0; round < 200; ++round) {
    std::string text;
    for (uint32_t n = random.below(60); n > 0; --n)
      text += random.below(3) == 0 ? static_cast<char>(random.below(256))
                                   : "the cat\n"[random.below(8)];
    const Ids ids = t->encode(text);
    EXPECT_EQ(t->decode(ids), repair_utf8(text));
    std::string joined;
    for (const int32_t id : ids) joined += t->token_bytes(id);
    EXPECT_EQ(joined, repair_utf8(text));
  }
}

TEST(TokenizerJson, SpecialTokens) {
  const auto t = load(byte_level_json(english_merges()));
  EXPECT_EQ(t->encode("cat<|end|>cat"), (Ids{kCat, kEnd, kCat}));
  EXPECT_EQ(t->encode("<|end|>", true, false), (Ids{'<', '|', 'e', 'n', 'd', '|', '>'}));
  EXPECT_EQ(t->decode(Ids{kCat, kEnd}), "cat<|end|>");
  EXPECT_EQ(t->decode(Ids{kCat, kEnd}, true), "cat");
}

TEST(TokenizerJson, AddedTokenRules) {
  Json json = byte_level_json({});
  int id = 300;
  const auto add = [&](const std::string& content, const char* flag) {
    Json token = {{"id", ++id}, {"content", content}, {"normalized", false}};
    if (*flag != 0) token[flag] = true;
    json["added_tokens"].push_back(token);
    return id;
  };
  const int left = add("[L]", "lstrip"), right = add("[R]", "rstrip"),
            word = add("dog", "single_word"), plain = add("[X", ""), longer = add("[X]", "");
  const auto t = load(json);
  EXPECT_EQ(t->encode("a [L] b"), (Ids{'a', left, ' ', 'b'}));
  EXPECT_EQ(t->encode("a [R] \u3000b"), (Ids{'a', ' ', right, 'b'}));
  EXPECT_EQ(t->encode("dog"), Ids{word});
  EXPECT_EQ(t->encode("dogs"), (Ids{'d', 'o', 'g', 's'}));
  EXPECT_EQ(t->encode("(dog)"), (Ids{'(', word, ')'}));
  EXPECT_EQ(t->encode("[X][X"), (Ids{longer, plain}));
  // parse_special is about special tokens: these are not.
  EXPECT_EQ(t->encode("[X]", true, false), Ids{longer});
  EXPECT_EQ(t->vocab_size(), longer + 1);
}

TEST(TokenizerJson, NormalizedTokensAreFoundInNormalizedText) {
  Json json = byte_level_json({});
  json["normalizer"] = {{"type", "NFC"}};
  json["added_tokens"].push_back({{"id", 300}, {"content", "\u00E9!"}, {"normalized", true}});
  json["added_tokens"].push_back({{"id", 301}, {"content", "\u00E9?"}, {"normalized", false}});
  const auto t = load(json);
  EXPECT_EQ(t->encode("e\u0301!"), Ids{300});
  EXPECT_EQ(t->encode("\u00E9!"), Ids{300});
  EXPECT_EQ(t->encode("e\u0301?"), (Ids{0xC3, 0xA9, '?'}));
  EXPECT_EQ(t->encode("\u00E9?"), Ids{301});
}

TEST(TokenizerJson, Normalizers) {
  const auto ids = [](const Json& normalizer, const std::string& text) {
    Json json = byte_level_json({});
    json["normalizer"] = normalizer;
    const auto t = load(json);
    return t->decode(t->encode(text));
  };
  EXPECT_EQ(ids({{"type", "NFC"}}, "e\u0301\u212B"), "\u00E9\u00C5");
  EXPECT_EQ(ids({{"type", "NFD"}}, "\u00E9"), "e\u0301");
  EXPECT_EQ(ids({{"type", "NFKC"}}, "\uFB01\u00B2"), "fi2");
  EXPECT_EQ(ids({{"type", "NFKD"}}, "\uFB01\u00E9"), "fie\u0301");
  EXPECT_EQ(ids({{"type", "Replace"}, {"pattern", {{"Regex", "[ab]+"}}}, {"content", "-"}}, "xaby"),
            "x-y");
}

TEST(TokenizerJson, MetaspaceWithByteFallback) {
  const std::string mark = "\u2581";
  const auto t = load(metaspace_json({mark, "a", "b", "ab", mark + "a", mark + "ab"},
                                     {{"a", "b"}, {mark, "a"}, {mark, "ab"}}));
  const int first = 259, a = first + 1, mark_ab = first + 5;
  EXPECT_EQ(t->encode("ab ab"), (Ids{mark_ab, mark_ab}));
  EXPECT_EQ(t->encode("\u00E9"), (Ids{first, 3 + 0xC3, 3 + 0xA9}));
  EXPECT_EQ(t->encode("a</s>a"), (Ids{first + 4, 2, first + 4}));
  EXPECT_EQ(t->decode(t->encode("ab \u00E9 \U0001F600")), "ab \u00E9 \U0001F600");
  EXPECT_EQ(t->decode(Ids{mark_ab, 3 + 0xC3, a}), "ab\uFFFDa");
  EXPECT_EQ(t->token_bytes(mark_ab), " ab");
  EXPECT_EQ(t->token_bytes(3 + 0xC3), "\xC3");
}

TEST(TokenizerJson, PostProcessorAddsWhatTheTemplateSays) {
  Json json = byte_level_json({});
  const Json end = {{"id", "<|end|>"}, {"ids", {256}}, {"tokens", {"<|end|>"}}};
  const Json special = {{"SpecialToken", {{"id", "<|end|>"}, {"type_id", 0}}}};
  const Json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  Json post;
  post["type"] = "TemplateProcessing";
  post["special_tokens"]["<|end|>"] = end;
  post["single"] = Json::array({special, text, special, special});
  json["post_processor"] = post;
  EXPECT_EQ(load(json)->encode("a"), (Ids{256, 'a', 256, 256}));
  EXPECT_EQ(load(json)->encode("a", false), Ids{'a'});
  json["post_processor"] = {{"type", "Sequence"},
                            {"processors", Json::array({Json{{"type", "ByteLevel"}}, post})}};
  EXPECT_EQ(load(json)->encode(""), (Ids{256, 256, 256}));
  post["special_tokens"]["<|end|>"]["ids"] = {257};
  json["post_processor"] = post;
  EXPECT_NE(error_of(json).find("outside the vocabulary"), std::string::npos);
}

TEST(TokenizerJson, ErrorsNameWhatIsWrong) {
  const Json good = byte_level_json(english_merges());
  const auto broken = [&](const std::string& pointer, const Json& value) {
    Json json = good;
    json[Json::json_pointer(pointer)] = value;
    return error_of(json);
  };
  EXPECT_EQ(error_of(good), "");
  EXPECT_NE(broken("/model/type", "WordPiece").find("'WordPiece' is not supported; supported: BPE"),
            std::string::npos);
  EXPECT_NE(broken("/normalizer", {{"type", "Nmt"}}).find("'Nmt' is not supported"),
            std::string::npos);
  EXPECT_NE(broken("/decoder", {{"type", "CTC"}}).find("'CTC' is not supported"),
            std::string::npos);
  EXPECT_NE(broken("/post_processor", {{"type", "BertProcessing"}}).find("not supported"),
            std::string::npos);
  EXPECT_NE(broken("/model/merges/0", Json::array({"t", "zz"})).find("merge 0"), std::string::npos);
  EXPECT_NE(broken("/model/merges/0", "t").find("merge 0"), std::string::npos);
  EXPECT_NE(broken("/model/vocab/a", -1).find("-1"), std::string::npos);
  EXPECT_NE(broken("/model/vocab/a", 2'000'000'000).find("out of range"), std::string::npos);
  EXPECT_NE(broken("/model/vocab/a", 3).find("the id 3"), std::string::npos);
  EXPECT_NE(broken("/model/vocab/a", "x").find("not an integer"), std::string::npos);
  EXPECT_NE(broken("/added_tokens/0/id", 1e99).find("not an integer"), std::string::npos);
  const Json strip = {{"type", "Strip"}, {"content", " "}, {"start", 1e99}, {"stop", 0}};
  EXPECT_NE(broken("/decoder", strip).find("'start' is not an integer"), std::string::npos);
  EXPECT_NE(broken("/model/continuing_subword_prefix", "##").find("not supported"),
            std::string::npos);
  EXPECT_NE(broken("/added_tokens/0/id", 1u << 31).find("out of range"), std::string::npos);
  EXPECT_THROW(parse_tokenizer_json("{", "x"), Error);
  EXPECT_THROW(parse_tokenizer_json("[]", "x"), Error);
  EXPECT_THROW(parse_tokenizer_json("{\"model\": 3}", "x"), Error);
}

TEST(TokenizerJson, ThreadsShareATokenizer) {
  const auto t = load(byte_level_json(english_merges()));
  const std::string text = "the cat that chats at the other cat";
  const Ids expected = t->encode(text);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      for (int k = 0; k < 200; ++k) wrong[i] += t->encode(text) != expected;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

}  // namespace
}  // namespace bitsmith
