#include "tokenizer/gguf_vocabulary.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "tokenizer/gguf_tokenizer_export.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/test_gguf.h"
#include "tokenizer/tiny_tokenizers.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/vocabulary.h"

namespace bitsmith {
namespace {

using Ids = std::vector<int32_t>;

std::unique_ptr<Tokenizer> tokenizer_of(const Json& keys, const std::string& source = "g") {
  return make_gguf_tokenizer(testing::read_vocabulary(keys, source));
}

// The keys that a converter writes for byte_level_json(english_merges()).
Json gpt2_keys(const std::string& pre) {
  const Json json = byte_level_json(english_merges());
  std::vector<std::string> tokens(kEnd + 1);
  for (const auto& [token, id] : json["model"]["vocab"].items()) tokens[id.get<int>()] = token;
  tokens[kEnd] = "<|end|>";
  std::vector<int> types(kEnd + 1, 1);
  types[kEnd] = 3;
  Json merges = Json::array();
  for (const auto& [left, right] : english_merges()) merges.push_back(left + " " + right);
  return {{"tokenizer.ggml.model", "gpt2"},      {"tokenizer.ggml.pre", pre},
          {"tokenizer.ggml.tokens", tokens},     {"tokenizer.ggml.token_type", types},
          {"tokenizer.ggml.merges", merges},     {"tokenizer.ggml.bos_token_id", kEnd},
          {"tokenizer.ggml.eos_token_id", kEnd}, {"tokenizer.chat_template", "a template"}};
}

TEST(GgufVocabulary, Gpt2EqualsTokenizerJson) {
  const auto reference = parse_tokenizer_json(byte_level_json(english_merges()).dump(), "json");
  const auto t = tokenizer_of(gpt2_keys("gpt-2"));
  Random random(2);
  for (int round = 0; round < 100; ++round) {
    std::string text;
    for (uint32_t n = random.below(50); n > 0; --n)
      text += "the cat\n12'\xC3\xA9"[random.below(13)];
    if (round % 4 == 0) text += "<|end|>the";
    EXPECT_EQ(t->encode(text), reference->encode(text)) << text;
    EXPECT_EQ(t->decode(t->encode(text)), reference->decode(reference->encode(text)));
  }
  EXPECT_EQ(t->bos_id, kEnd);
  EXPECT_EQ(t->eos_id, kEnd);
  EXPECT_EQ(t->chat_template, "a template");
  EXPECT_EQ(t->vocab_size(), kEnd + 1);
}

// Where the kinds of `pre` differ: numbers, and what sticks to a word.
TEST(GgufVocabulary, PreTypesCutDifferently) {
  const auto cuts = [](const std::string& pre, const std::string& text) {
    Json keys = gpt2_keys(pre);
    // Every pair of digits, and a digit after a space, would merge if they met in a word.
    for (const char* merge : {"1 1", "11 11", "\u0120 1", "( t"})
      keys["tokenizer.ggml.merges"].push_back(merge);
    for (const char* token : {"11", "1111", "\u01201", "(t"}) {
      keys["tokenizer.ggml.tokens"].push_back(token);
      keys["tokenizer.ggml.token_type"].push_back(1);
    }
    return tokenizer_of(keys)->encode(text, false);
  };
  const int pair = kEnd + 1, four = kEnd + 2, space_one = kEnd + 3, paren_t = kEnd + 4;
  EXPECT_EQ(cuts("gpt-2", " 1111"), (Ids{' ', four}));
  EXPECT_EQ(cuts("smollm", "1111 1"), (Ids{'1', '1', '1', '1', ' ', '1'}));
  EXPECT_EQ(cuts("llama-bpe", "1111"), (Ids{pair, '1', '1'}));  // three digits, then one
  EXPECT_EQ(cuts("qwen2", "11"), (Ids{'1', '1'}));
  EXPECT_EQ(cuts("gpt-2", "(t"), (Ids{'(', 't'}));
  EXPECT_EQ(cuts("qwen2", "(t"), Ids{paren_t});
  EXPECT_EQ(cuts("gpt-2", " 1"), Ids{space_one});
  EXPECT_EQ(cuts("gpt-2", "11"), Ids{pair});
}

TEST(GgufVocabulary, QwenNormalizes) {
  const auto t = tokenizer_of(gpt2_keys("qwen2"));
  EXPECT_EQ(t->encode("e\u0301"), (Ids{0xC3, 0xA9}));
}

TEST(GgufVocabulary, BosAndEosAsTheKeysSay) {
  EXPECT_EQ(tokenizer_of(gpt2_keys("smollm"))->encode("a"), Ids{'a'});
  EXPECT_EQ(tokenizer_of(gpt2_keys("llama-bpe"))->encode("a"), (Ids{kEnd, 'a'}));
  Json keys = gpt2_keys("llama-bpe");
  keys["tokenizer.ggml.add_bos_token"] = false;
  keys["tokenizer.ggml.add_eos_token"] = true;
  EXPECT_EQ(tokenizer_of(keys)->encode("a"), (Ids{'a', kEnd}));
  EXPECT_EQ(tokenizer_of(keys)->encode("a", false), Ids{'a'});
}

TEST(GgufVocabulary, ErrorsNameTheKey) {
  const auto error = [](const Json& keys) {
    try {
      tokenizer_of(keys, "file.gguf");
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_NE(error(gpt2_keys("nobody")).find("'nobody' is not supported; supported: gpt-2"),
            std::string::npos);
  Json keys = gpt2_keys("gpt-2");
  keys.erase("tokenizer.ggml.pre");
  EXPECT_NE(error(keys).find("tokenizer.ggml.pre"), std::string::npos);
  keys = gpt2_keys("gpt-2");
  keys["tokenizer.ggml.token_type"].erase(0);
  EXPECT_NE(error(keys).find("tokenizer.ggml.token_type"), std::string::npos);
  keys = gpt2_keys("gpt-2");
  keys["tokenizer.ggml.eos_token_id"] = 1 << 20;
  EXPECT_NE(error(keys).find("tokenizer.ggml.eos_token_id"), std::string::npos);
  keys["tokenizer.ggml.model"] = "bert";
  EXPECT_NE(error(keys).find("'bert' is not supported"), std::string::npos);
  EXPECT_NE(error(Json::object()).find("no vocabulary"), std::string::npos);
}

// "llama": 0 <unk>, 1 <s>, 2 </s>, 3..258 bytes, then pieces with scores.
Json llama_keys(const std::vector<std::pair<std::string, float>>& pieces) {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<int> types = {2, 3, 3};
  std::vector<float> scores = {0, 0, 0};
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back(byte_token(static_cast<unsigned char>(byte)));
    types.push_back(6);
    scores.push_back(0);
  }
  for (const auto& [piece, score] : pieces) {
    tokens.push_back(piece);
    types.push_back(1);
    scores.push_back(score);
  }
  return {{"tokenizer.ggml.model", "llama"},     {"tokenizer.ggml.tokens", tokens},
          {"tokenizer.ggml.token_type", types},  {"tokenizer.ggml.scores", scores},
          {"tokenizer.ggml.bos_token_id", 1},    {"tokenizer.ggml.eos_token_id", 2},
          {"tokenizer.ggml.unknown_token_id", 0}};
}

TEST(GgufVocabulary, LlamaKnownIds) {
  const std::string mark = "\u2581";
  const auto t = tokenizer_of(
      llama_keys({{mark, -9}, {"a", -8}, {"b", -7}, {"ab", -1}, {mark + "a", -2}, {"ba", -3}}));
  const int m = 259, a = 260, ab = 262, mark_a = 263;
  EXPECT_EQ(t->encode("ab"), (Ids{1, m, ab}));
  EXPECT_EQ(t->encode("aab", false), (Ids{mark_a, ab}));
  EXPECT_EQ(t->encode("a\u00E9", false), (Ids{mark_a, 3 + 0xC3, 3 + 0xA9}));
  EXPECT_EQ(t->encode("a</s>a", false), (Ids{mark_a, 2, mark_a}));  // a space after a token, too
  EXPECT_EQ(t->encode("", false), Ids{});
  EXPECT_EQ(t->decode(Ids{1, mark_a, ab}, true), "aab");
  EXPECT_EQ(t->decode(Ids{mark_a, mark_a}), "a a");
  EXPECT_EQ(t->token_bytes(mark_a), " a");
  EXPECT_EQ(t->token_bytes(a), "a");
  EXPECT_EQ(t->token_bytes(3 + 0xC3), "\xC3");
}

TEST(GgufVocabulary, LlamaWithoutSpacePrefix) {
  Json keys = llama_keys({{"a", -1}});
  keys["tokenizer.ggml.add_space_prefix"] = false;
  EXPECT_EQ(tokenizer_of(keys)->encode("a"), (Ids{1, 259}));
}

// A special token's text that comes together from pieces stays text.
TEST(GgufVocabulary, LlamaMergesNoSpecialTokens) {
  Json keys = llama_keys({{"<", -1}, {"s", -1}, {">", -1}, {"<s", -1}});
  keys["tokenizer.ggml.add_space_prefix"] = false;
  EXPECT_EQ(tokenizer_of(keys)->encode("<s>", false, false), (Ids{262, 261}));
  EXPECT_EQ(tokenizer_of(keys)->encode("<s>", false, true), Ids{1});
}

// What is written as a tokenizer.json gives the same ids as what was read.
void expect_same_ids(const Json& keys, const std::vector<std::string>& parts, uint64_t seed) {
  const auto t = tokenizer_of(keys);
  const auto exported =
      parse_tokenizer_json(gguf_tokenizer_json(testing::read_vocabulary(keys)).dump(), "exported");
  ASSERT_EQ(t->vocab_size(), exported->vocab_size());
  Random random(seed);
  for (int round = 0; round < 150; ++round) {
    std::string text;
    for (uint32_t n = random.below(20); n > 0; --n)
      text += parts[random.below(static_cast<uint32_t>(parts.size()))];
    for (const bool special : {false, true}) {
      EXPECT_EQ(t->encode(text, special, special), exported->encode(text, special, special))
          << text;
      const auto ids = t->encode(text, special, special);
      EXPECT_EQ(t->decode(ids, special), exported->decode(ids, special)) << text;
    }
  }
}

TEST(GgufVocabulary, ExportedBytePairsGiveTheSameIds) {
  const std::vector<std::string> parts = {
      "e\u0301",      "the",    " the",       "cat",    " cat",   "at",      "1",
      "12",           "1234",   " 5",         "\n",     "\r\n",   "  ",      "\t",
      "(t",           "'s",     "'S",         "don't",  "\u00C5", "A\u030A", "\uAC00",
      "\u1100\u1161", "\u4E2D", "\U0001F600", "\u00B2", "\xFF",   "!?",      "<|end|>",
      "<|end|",       "<tool>", "\u0660",     "\u00A0", ""};
  std::set<std::string> seen;
  const GgufPreTokenizer* last = nullptr;
  for (const std::string& pre : gguf_pre_tokenizer_names()) {
    const GgufPreTokenizer* row = find_gguf_pre_tokenizer(pre);
    if (row == std::exchange(last, row)) continue;  // another name of the same
    Json keys = gpt2_keys(pre);
    // What comes together only where a pre-tokenizer leaves it together.
    const std::vector<std::pair<std::string, std::string>> merges = {
        {"1", "2"}, {"12", "3"},          {"\u0120", "5"},      {"(", "t"},          {"'", "s"},
        {"'", "S"}, {"\u0120", "\u0120"}, {"\u010A", "\u010A"}, {"\u00C3", "\u00A9"}};
    for (const auto& [left, right] : merges) {
      keys["tokenizer.ggml.merges"].push_back(left + " " + right);
      keys["tokenizer.ggml.tokens"].push_back(left + right);
      keys["tokenizer.ggml.token_type"].push_back(1);
    }
    // A user-defined token, an unused one, and a word that no merge makes.
    for (const auto& [token, type] :
         std::vector<std::pair<std::string, int>>{{"<tool>", 4}, {"[PAD1]", 5}, {"don", 1}}) {
      keys["tokenizer.ggml.tokens"].push_back(token);
      keys["tokenizer.ggml.token_type"].push_back(type);
    }
    expect_same_ids(keys, parts, 5);
    keys["tokenizer.ggml.add_eos_token"] = true;
    keys["tokenizer.ggml.add_bos_token"] = true;
    expect_same_ids(keys, parts, 6);
    Ids all;
    for (const std::string& part : parts)
      for (const int32_t id : tokenizer_of(keys)->encode(part + "123 5(t don 'S\n\n  "))
        all.push_back(id);
    seen.insert(std::string(reinterpret_cast<const char*>(all.data()), 4 * all.size()));
  }
  EXPECT_GE(seen.size(), 18u);  // some rows differ in other texts only
  Json unknown = gpt2_keys("nobody");
  EXPECT_THROW(testing::read_vocabulary(unknown), Error);
}

// A run of one class of characters is the worst case of a pattern that looks ahead or back:
// quadratic work, or a limit of the matcher, would show.
TEST(GgufVocabulary, LongRunsOfOneClass) {
  const std::vector<std::string> classes = {"A", " ", "\n", ".", "\u4E00", "\u0301", "1"};
  const GgufPreTokenizer* last = nullptr;
  for (const std::string& pre : gguf_pre_tokenizer_names()) {
    const GgufPreTokenizer* row = find_gguf_pre_tokenizer(pre);
    if (row == std::exchange(last, row)) continue;
    const auto t = tokenizer_of(gpt2_keys(pre));
    for (const std::string& character : classes)
      for (const std::string end : {"", "x"}) {
        std::string text;
        while (text.size() < 50'000) text += character;
        text += end;
        const Ids ids = t->encode(text, false);  // no merges of these: every byte is its token
        ASSERT_EQ(ids.size(), text.size()) << pre;
        for (size_t i = 0; i < ids.size(); ++i)
          ASSERT_EQ(ids[i], static_cast<unsigned char>(text[i])) << pre;
      }
  }
}

// Groups of digits from the right.
TEST(GgufVocabulary, DigitsFromTheRight) {
  const auto words = [](const std::string& pre, const std::string& text) {
    const Pieces pieces =
        PreTokenizer(find_gguf_pre_tokenizer(pre)->pre_tokenizer(), pre).apply(text, true);
    std::string out;
    for (const Span& span : pieces.spans)
      out += (out.empty() ? "" : "|") + pieces.text.substr(span.begin, span.end - span.begin);
    return out;
  };
  for (const char* pre : {"superbpe", "tiny_aya", "afmoe"}) {
    EXPECT_EQ(words(pre, "1"), "1") << pre;
    EXPECT_EQ(words(pre, "123"), "123") << pre;
    EXPECT_EQ(words(pre, "1234"), "1|234") << pre;
    EXPECT_EQ(words(pre, "12345678"), "12|345|678") << pre;
    EXPECT_EQ(words(pre, "123456,12345"), "123|456|,|12|345") << pre;
  }
  EXPECT_EQ(words("tiny_aya", "1234a"), "123|4|a");  // no number by itself: from the left
  EXPECT_EQ(words("falcon", "12345"), "123|45");
  EXPECT_EQ(words("kimi-k2", "a\u4E00\u4E8Cb's"), "a|\u00E4\u00B8\u0122\u00E4\u00BA\u012E|b's");
  EXPECT_EQ(words("jais-2", "   \n       x"),
            "\u0120\u0120\u0120\u010A|\u0120\u0120\u0120\u0120|\u0120\u0120|\u0120x");
}

TEST(GgufVocabulary, ExportedScoresGiveTheSameIds) {
  const std::string mark = "\u2581";
  const std::vector<std::string> parts = {"a",    "b",      "ab",     " a",      " ",
                                          "  ",   "ba",     "\u00E9", "e\u0301", "<s>",
                                          "</s>", "\u4E2D", "\xFF",   "<tool>"};
  Json keys = llama_keys({{mark, -9},
                          {"a", -8},
                          {"b", -7},
                          {"ab", -1},
                          {mark + "a", -2},
                          {"ba", -3},
                          {mark + mark, -4},
                          {"bab", -5},
                          {"<", -20},
                          {"s", -21},
                          {">", -22},
                          {"<s", -6}});
  keys["tokenizer.ggml.tokens"].push_back("<tool>");
  keys["tokenizer.ggml.token_type"].push_back(4);
  keys["tokenizer.ggml.scores"].push_back(0.0);
  expect_same_ids(keys, parts, 7);
  keys["tokenizer.ggml.add_space_prefix"] = false;
  keys["tokenizer.ggml.add_eos_token"] = true;
  expect_same_ids(keys, parts, 8);
  // Without bytes: unknown characters side by side are one token.
  for (auto& type : keys["tokenizer.ggml.token_type"])
    if (type == 6) type = 5;
  for (auto& token : keys["tokenizer.ggml.tokens"])
    if (token.get<std::string>().starts_with("<0x")) token = "gone" + token.get<std::string>();
  expect_same_ids(keys, parts, 9);
}

// "t5": a unigram model whose rules of normalization say that U+FB01 is "fi", and a tab a space.
Json t5_keys() {
  // A double array of "\t" and "\xEF\xAC\x81": node i of a path is where its byte leads.
  std::vector<uint32_t> units(2048, 0);
  const auto unit = [](uint32_t offset, uint32_t label, bool value) {
    return offset << 10 | (value ? 1u << 8 : 0u) | label;
  };
  units[0] = unit(256, 0, false);             // root: children from 256
  units[256 ^ '\t'] = unit(512, '\t', true);  // value where 512 leads
  units[(256 ^ '\t') ^ 512] = 0;              // -> " "
  units[256 ^ 0xEF] = unit(1024, 0xEF, false);
  const uint32_t second = (256 ^ 0xEF ^ 1024) ^ 0xAC;
  units[second] = unit(512, 0xAC, false);
  const uint32_t third = (second ^ 512) ^ 0x81;
  units[third] = unit(256, 0x81, true);
  units[third ^ 256] = 2;  // -> "fi"
  std::vector<int> charsmap;
  const auto add_word = [&](uint32_t word) {
    for (int shift = 0; shift < 32; shift += 8)
      charsmap.push_back(static_cast<int>(word >> shift & 255));
  };
  add_word(static_cast<uint32_t>(4 * units.size()));
  for (const uint32_t word : units) add_word(word);
  for (const char c : std::string(" \0fi\0", 5)) charsmap.push_back(c);
  const std::string mark = "\u2581";
  return {{"tokenizer.ggml.model", "t5"},
          {"tokenizer.ggml.tokens",
           {"<pad>", "</s>", "<unk>", mark, "a", "b", "ab", mark + "a", "fi", "f", "<tool>"}},
          {"tokenizer.ggml.token_type", {3, 3, 2, 1, 1, 1, 1, 1, 1, 1, 4}},
          {"tokenizer.ggml.scores", {0.0, 0, 0, -2, -3, -3.5, -4, -4.5, -3, -2, 0}},
          {"tokenizer.ggml.eos_token_id", 1},
          {"tokenizer.ggml.unknown_token_id", 2},
          {"tokenizer.ggml.add_space_prefix", true},
          {"tokenizer.ggml.remove_extra_whitespaces", true},
          {"tokenizer.ggml.precompiled_charsmap", charsmap}};
}

TEST(GgufVocabulary, UnigramKnownIds) {
  const auto t = tokenizer_of(t5_keys());
  EXPECT_EQ(t->encode("a"), (Ids{7, 1}));          // -4.5 against -2 - 3, and </s>
  EXPECT_EQ(t->encode("ab", false), (Ids{3, 6}));  // -6 against -4.5 - 3.5
  EXPECT_EQ(t->encode("\t b   a ", false), (Ids{3, 5, 7}));
  EXPECT_EQ(t->encode("\uFB01", false), (Ids{3, 8}));
  EXPECT_EQ(t->encode("xyb", false), (Ids{3, 2, 5}));  // unknown neighbors are one
  EXPECT_EQ(t->encode("a<tool></s>", false), (Ids{7, 10, 1}));
  EXPECT_EQ(t->encode("</s>", false, false), (Ids{3, 2}));  // text
  EXPECT_EQ(t->encode("  ", false), Ids{});
  EXPECT_EQ(t->decode(Ids{7, 3, 6, 1}, true), "a ab");
  Json keys = t5_keys();
  keys.erase("tokenizer.ggml.unknown_token_id");
  EXPECT_THROW(tokenizer_of(keys), Error);
  keys = t5_keys();
  keys["tokenizer.ggml.precompiled_charsmap"] = {4, 0, 0, 0, 1};
  EXPECT_THROW(tokenizer_of(keys), Error);
}

TEST(GgufVocabulary, ExportedUnigramsGiveTheSameIds) {
  const std::vector<std::string> parts = {"a",  "b",  "ab",   " a",     " ",      "  ",   "\t",
                                          "fi", "\n", "</s>", "\uFB01", "\u4E2D", "\xFF", "<tool>"};
  Json keys = t5_keys();
  expect_same_ids(keys, parts, 10);
  keys["tokenizer.ggml.remove_extra_whitespaces"] = false;
  keys["tokenizer.ggml.add_space_prefix"] = false;
  expect_same_ids(keys, parts, 11);
  keys.erase("tokenizer.ggml.precompiled_charsmap");
  for (int byte = 0; byte < 256; ++byte) {
    keys["tokenizer.ggml.tokens"].push_back(byte_token(static_cast<unsigned char>(byte)));
    keys["tokenizer.ggml.token_type"].push_back(6);
    keys["tokenizer.ggml.scores"].push_back(0.0);
  }
  expect_same_ids(keys, parts, 12);
  EXPECT_EQ(tokenizer_of(keys)->encode("\u00E9", false), (Ids{11 + 0xC3, 11 + 0xA9}));
}

// Best score first, leftmost of equals, over the whole text.
TEST(GgufVocabulary, LlamaEqualsTheDefinition) {
  Random random(4);
  std::vector<std::pair<std::string, float>> pieces = {{"a", 0}, {"b", 0}, {"c", 0}};
  for (int i = 0; i < 20; ++i) {
    const std::string piece =
        pieces[random.below(pieces.size())].first + pieces[random.below(pieces.size())].first;
    bool known = false;
    for (const auto& p : pieces) known |= p.first == piece;
    if (!known) pieces.emplace_back(piece, -static_cast<float>(random.below(8)));
  }
  Json keys = llama_keys(pieces);
  keys["tokenizer.ggml.add_space_prefix"] = false;
  const auto t = tokenizer_of(keys);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> parts;
    std::string text;
    for (uint32_t n = random.below(30); n > 0; --n) {
      parts.emplace_back(1, "abc"[random.below(3)]);
      text += parts.back();
    }
    for (;;) {
      size_t best = parts.size();
      float best_score = -1e9f;
      for (size_t i = 0; i + 1 < parts.size(); ++i)
        for (const auto& [piece, score] : pieces)
          if (piece == parts[i] + parts[i + 1] && score > best_score) {
            best = i;
            best_score = score;
          }
      if (best == parts.size()) break;
      parts[best] += parts[best + 1];
      parts.erase(parts.begin() + static_cast<ptrdiff_t>(best) + 1);
    }
    Ids expected;
    for (const std::string& part : parts) expected.push_back(*t->token_id(part));
    EXPECT_EQ(t->encode(text, false), expected) << text;
  }
}

}  // namespace
}  // namespace bitsmith
