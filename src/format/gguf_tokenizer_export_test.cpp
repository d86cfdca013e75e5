#include "format/gguf_tokenizer_export.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/checkpoint.h"

namespace bitsmith {
namespace {

Json byte_level_keys(const char* pre) {
  return {{"tokenizer.ggml.model", "gpt2"},
          {"tokenizer.ggml.pre", pre},
          {"tokenizer.ggml.tokens", {"<|endoftext|>", "<|im_end|>", "a", "b", "ab", "<tool>"}},
          {"tokenizer.ggml.token_type", {3, 3, 1, 1, 1, 4}},
          {"tokenizer.ggml.merges", {"a b"}},
          {"tokenizer.ggml.bos_token_id", 0},
          {"tokenizer.ggml.eos_token_id", 1},
          {"tokenizer.chat_template", "{{ messages }}"}};
}

Json sentencepiece_keys() {
  return {{"tokenizer.ggml.model", "llama"},
          {"tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>", "\u2581", "a", "b", "ab", "\u2581ab"}},
          {"tokenizer.ggml.token_type", {2, 3, 3, 1, 1, 1, 1, 1}},
          {"tokenizer.ggml.scores", {0, 0, 0, -9, -8, -7, -1, -2}},
          {"tokenizer.ggml.unknown_token_id", 0},
          {"tokenizer.ggml.bos_token_id", 1},
          {"tokenizer.ggml.eos_token_id", 2}};
}

TEST(GgufTokenizerExport, ByteLevelVocabularies) {
  const Json tokenizer = gguf_tokenizer_json(byte_level_keys("gpt-2"), "x");
  EXPECT_EQ(tokenizer["model"]["vocab"]["ab"], 4);
  EXPECT_EQ(tokenizer["model"]["merges"], Json::array({"a b"}));
  EXPECT_EQ(tokenizer["pre_tokenizer"]["type"], "ByteLevel");
  ASSERT_EQ(tokenizer["added_tokens"].size(), 3u);
  EXPECT_EQ(tokenizer["added_tokens"][1]["content"], "<|im_end|>");
  EXPECT_EQ(tokenizer["added_tokens"][1]["special"], true);
  EXPECT_EQ(tokenizer["added_tokens"][2]["special"], false);  // user-defined
  EXPECT_TRUE(tokenizer["post_processor"].is_null());

  const Json digits = gguf_tokenizer_json(byte_level_keys("smollm"), "x")["pre_tokenizer"];
  EXPECT_EQ(digits["pretokenizers"][0]["individual_digits"], true);
  for (const char* pre : {"llama-bpe", "qwen2"}) {
    const Json split = gguf_tokenizer_json(byte_level_keys(pre), "x")["pre_tokenizer"];
    EXPECT_EQ(split["pretokenizers"][0]["type"], "Split");
    EXPECT_EQ(split["pretokenizers"][1]["use_regex"], false);
  }
  // Llama 3 begins with its bos token unless the file says no.
  Json keys = byte_level_keys("llama-bpe");
  EXPECT_EQ(gguf_tokenizer_json(keys, "x")["post_processor"]["single"][0]["SpecialToken"]["id"],
            "<|endoftext|>");
  keys["tokenizer.ggml.add_bos_token"] = false;
  EXPECT_TRUE(gguf_tokenizer_json(keys, "x")["post_processor"].is_null());
}

TEST(GgufTokenizerExport, SentencePieceScoresBecomeMergesInTheirOrder) {
  const Json tokenizer = gguf_tokenizer_json(sentencepiece_keys(), "x");
  EXPECT_EQ(tokenizer["model"]["merges"], Json::parse("[[\"a\", \"b\"], [\"\u2581\", \"ab\"]]"));
  EXPECT_EQ(tokenizer["model"]["unk_token"], "<unk>");
  EXPECT_EQ(tokenizer["model"]["byte_fallback"], false);
  EXPECT_EQ(tokenizer["normalizer"]["normalizers"][0]["prepend"], "\u2581");
  EXPECT_EQ(tokenizer["post_processor"]["special_tokens"]["<s>"]["ids"], Json::array({1}));

  Json keys = sentencepiece_keys();
  keys["tokenizer.ggml.add_space_prefix"] = false;
  EXPECT_EQ(gguf_tokenizer_json(keys, "x")["normalizer"]["normalizers"].size(), 1u);
}

TEST(GgufTokenizerExport, EqualScoresAreExactForRunsAndAnErrorElsewhere) {
  Json keys = sentencepiece_keys();
  keys["tokenizer.ggml.tokens"] = {"<unk>", "<s>", "</s>", "a", "aa", "aaa"};
  keys["tokenizer.ggml.token_type"] = {2, 3, 3, 1, 1, 1};
  keys["tokenizer.ggml.scores"] = {0, 0, 0, 0, -1, -1};
  EXPECT_EQ(gguf_tokenizer_json(keys, "x")["model"]["merges"],
            Json::parse("[[\"aa\", \"a\"], [\"a\", \"a\"], [\"a\", \"aa\"]]"));
  keys = sentencepiece_keys();
  keys["tokenizer.ggml.scores"] = {0, 0, 0, 0, 0, 0, -1, -1};
  EXPECT_THROW(gguf_tokenizer_json(keys, "x"), Error);
}

TEST(GgufTokenizerExport, ConfigsNameTheSpecialTokens) {
  const Json keys = byte_level_keys("gpt-2");
  const OrderedJson config = gguf_tokenizer_config(keys, "x");
  EXPECT_EQ(config["bos_token"], "<|endoftext|>");
  EXPECT_EQ(config["eos_token"], "<|im_end|>");
  EXPECT_EQ(config["chat_template"], "{{ messages }}");
  ModelConfig model;
  model.bos_token_id = 0;
  model.eos_token_ids = {1};
  EXPECT_EQ(gguf_generation_config(keys, model, "x")["eos_token_id"], OrderedJson::array({1, 0}));
}

TEST(GgufTokenizerExport, ImpossibleVocabulariesAreErrors) {
  const auto expect_error = [](Json keys, const char* key, const Json& value) {
    keys[concat("tokenizer.ggml.", key)] = value;
    EXPECT_THROW(gguf_tokenizer_json(keys, "x"), Error) << key << " = " << value;
  };
  expect_error(byte_level_keys("gpt-2"), "model", "bert");
  expect_error(byte_level_keys("gpt-2"), "pre", "deepseek-coder");
  expect_error(byte_level_keys("gpt-2"), "tokens", 7);
  expect_error(byte_level_keys("gpt-2"), "token_type", {1});
  expect_error(byte_level_keys("gpt-2"), "merges", nullptr);
  expect_error(sentencepiece_keys(), "scores", {1});
  expect_error(sentencepiece_keys(), "token_type", {2, 3, 3, 4, 1, 1, 1, 1});  // a space, by hand
  EXPECT_THROW(gguf_tokenizer_json(Json::object(), "x"), Error);
}

}  // namespace
}  // namespace bitsmith
