#include "tokenizer/gguf_tokenizer_export.h"

#include <gtest/gtest.h>

#include "architecture/checkpoint.h"
#include "architecture/test_models.h"
#include "base/error.h"
#include "base/files.h"
#include "tokenizer/end_tokens.h"
#include "tokenizer/test_gguf.h"

namespace bitsmith {
namespace {

using testing::read_vocabulary;

Json tokenizer_json_of(const Json& keys) { return gguf_tokenizer_json(read_vocabulary(keys)); }

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
          {"tokenizer.ggml.scores", {0.0, 0, 0, -9, -8, -7, -1, -2}},
          {"tokenizer.ggml.unknown_token_id", 0},
          {"tokenizer.ggml.bos_token_id", 1},
          {"tokenizer.ggml.eos_token_id", 2}};
}

TEST(GgufTokenizerExport, ByteLevelVocabularies) {
  const Json tokenizer = tokenizer_json_of(byte_level_keys("gpt-2"));
  EXPECT_EQ(tokenizer["model"]["vocab"]["ab"], 4);
  EXPECT_EQ(tokenizer["model"]["merges"], Json::array({"a b"}));
  EXPECT_EQ(tokenizer["pre_tokenizer"]["pretokenizers"].back()["type"], "ByteLevel");
  ASSERT_EQ(tokenizer["added_tokens"].size(), 3u);
  EXPECT_EQ(tokenizer["added_tokens"][1]["content"], "<|im_end|>");
  EXPECT_EQ(tokenizer["added_tokens"][1]["special"], true);
  EXPECT_EQ(tokenizer["added_tokens"][2]["special"], false);  // user-defined
  EXPECT_TRUE(tokenizer["post_processor"].is_null());

  const Json digits = tokenizer_json_of(byte_level_keys("smollm"))["pre_tokenizer"];
  EXPECT_EQ(digits["pretokenizers"][0]["pattern"]["Regex"], "\\p{N}");
  EXPECT_EQ(tokenizer_json_of(byte_level_keys("qwen2"))["normalizer"]["type"], "NFC");
  EXPECT_TRUE(tokenizer["normalizer"].is_null());
  for (const char* pre : {"llama-bpe", "llama3", "llama-v3", "qwen2", "deepseek-r1-qwen"}) {
    const Json split = tokenizer_json_of(byte_level_keys(pre))["pre_tokenizer"];
    EXPECT_EQ(split["pretokenizers"][0]["type"], "Split");
    EXPECT_EQ(split["pretokenizers"][1]["use_regex"], false);
  }
  // Llama 3 begins with its bos token unless the file says no.
  Json keys = byte_level_keys("llama-bpe");
  EXPECT_EQ(tokenizer_json_of(keys)["post_processor"]["single"][0]["SpecialToken"]["id"],
            "<|endoftext|>");
  keys["tokenizer.ggml.add_bos_token"] = false;
  EXPECT_TRUE(tokenizer_json_of(keys)["post_processor"].is_null());
}

TEST(GgufTokenizerExport, SentencePieceScoresBecomeMergesInTheirOrder) {
  const Json tokenizer = tokenizer_json_of(sentencepiece_keys());
  EXPECT_EQ(tokenizer["model"]["merges"], Json::parse("[[\"a\", \"b\"], [\"\u2581\", \"ab\"]]"));
  EXPECT_EQ(tokenizer["model"]["unk_token"], "<unk>");
  EXPECT_EQ(tokenizer["model"]["byte_fallback"], false);
  EXPECT_EQ(tokenizer["normalizer"]["normalizers"][0]["prepend"], "\u2581");
  EXPECT_EQ(tokenizer["post_processor"]["special_tokens"]["<s>"]["ids"], Json::array({1}));

  Json keys = sentencepiece_keys();
  keys["tokenizer.ggml.add_space_prefix"] = false;
  EXPECT_EQ(tokenizer_json_of(keys)["normalizer"]["normalizers"].size(), 1u);
}

TEST(GgufTokenizerExport, EqualScoresAreExactForRunsAndAnErrorElsewhere) {
  Json keys = sentencepiece_keys();
  keys["tokenizer.ggml.tokens"] = {"<unk>", "<s>", "</s>", "a", "aa", "aaa"};
  keys["tokenizer.ggml.token_type"] = {2, 3, 3, 1, 1, 1};
  keys["tokenizer.ggml.scores"] = {0.0, 0, 0, 0, -1, -1};
  EXPECT_EQ(tokenizer_json_of(keys)["model"]["merges"],
            Json::parse("[[\"aa\", \"a\"], [\"a\", \"a\"], [\"a\", \"aa\"]]"));
  keys = sentencepiece_keys();
  keys["tokenizer.ggml.scores"] = {0.0, 0, 0, 0, 0, 0, -1, -1};
  EXPECT_THROW(tokenizer_json_of(keys), Error);
}

TEST(GgufTokenizerExport, ConfigsNameTheSpecialTokens) {
  const Json keys = byte_level_keys("gpt-2");
  const OrderedJson config = gguf_tokenizer_config(read_vocabulary(keys));
  EXPECT_EQ(config["bos_token"], "<|endoftext|>");
  EXPECT_EQ(config["eos_token"], "<|im_end|>");
  EXPECT_EQ(config["chat_template"], "{{ messages }}");
  ModelPlan model;
  model.bos_token_id = 0;
  model.eos_token_ids = {1};
  EXPECT_EQ(gguf_generation_config(read_vocabulary(keys), model)["eos_token_id"],
            OrderedJson::array({1, 0}));
  for (const char* name : kEndTokens) {
    Json one = sentencepiece_keys();
    one["tokenizer.ggml.tokens"][7] = name;
    model.eos_token_ids = {2};
    EXPECT_EQ(gguf_generation_config(read_vocabulary(one), model)["eos_token_id"],
              OrderedJson::array({2, 7}))
        << name;
  }
}

TEST(GgufTokenizerExport, ImpossibleVocabulariesAreErrors) {
  const auto expect_error = [](Json keys, const char* key, const Json& value) {
    keys[concat("tokenizer.ggml.", key)] = value;
    const auto make = [&] {
      make_gguf_tokenizer(read_vocabulary(keys));
      tokenizer_json_of(keys);
    };
    EXPECT_THROW(make(), Error) << key << " = " << value;
  };
  expect_error(byte_level_keys("gpt-2"), "model", "bert");
  expect_error(byte_level_keys("gpt-2"), "pre", "nobody");
  expect_error(byte_level_keys("gpt-2"), "tokens", 7);
  expect_error(byte_level_keys("gpt-2"), "tokens", {1, 2, 3, 4, 5, 6});
  expect_error(byte_level_keys("gpt-2"), "token_type", {1});
  expect_error(byte_level_keys("gpt-2"), "merges", 7);
  expect_error(byte_level_keys("gpt-2"), "merges", {"ab"});
  expect_error(byte_level_keys("gpt-2"), "merges", {"a c"});
  expect_error(sentencepiece_keys(), "scores", {1});
  expect_error(sentencepiece_keys(), "token_type", {2, 3, 3, 4, 1, 1, 1, 1});  // a space, by hand
  expect_error(sentencepiece_keys(), "tokens",  // "ab" without its "b"
               {"<unk>", "<s>", "</s>", "\u2581", "a", "c", "ab", "\u2581ab"});
  expect_error(sentencepiece_keys(), "tokens",  // one byte of 256
               {"<unk>", "<s>", "</s>", "\u2581", "a", "b", "ab", "<0x41>"});
  expect_error(sentencepiece_keys(), "unknown_token_id", 4);  // "a", of which "ab" is made
  Json no_unknown = sentencepiece_keys();
  no_unknown.erase("tokenizer.ggml.unknown_token_id");
  EXPECT_THROW(tokenizer_json_of(no_unknown), Error);
  Json twice = sentencepiece_keys();  // two tokens <unk>, the first of them meant
  twice["tokenizer.ggml.tokens"][3] = "<unk>";
  EXPECT_THROW(tokenizer_json_of(twice), Error);
  EXPECT_THROW(tokenizer_json_of(Json::object()), Error);
}

// A whole GGUF model: what the export would refuse is refused before, and nothing is written.
TEST(GgufTokenizerExport, IsCheckedBeforeWork) {
  const testing::TestFolder folder;
  const auto write = [&](const Json& keys) {
    testing::GgufBuilder gguf =
        testing::to_gguf(testing::random_model(testing::small_config("llama")));
    testing::add_keys(gguf, keys);
    const auto path = folder.path() / "m.gguf";
    write_file_atomic(path, gguf.bytes());
    return Checkpoint::open(path);
  };
  const auto good = write(byte_level_keys("llama-v3"));
  check_tokenizer_export(*good);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "tokenizer.json"));
  for (const auto& [name, text] : gguf_tokenizer_files(*good))
    write_file_atomic(folder.path() / name, text);
  const auto read = Tokenizer::open(folder.path());
  EXPECT_EQ(read->encode("ab"), Tokenizer::open(good->path())->encode("ab"));
  EXPECT_TRUE(gguf_tokenizer_files(*write(Json::object())).empty());  // no vocabulary

  Json ties = sentencepiece_keys();
  ties["tokenizer.ggml.scores"] = {0.0, 0, 0, 0, 0, 0, -1, -1};
  Json not_utf8 = byte_level_keys("gpt-2");
  not_utf8["tokenizer.chat_template"] = "\xff";
  for (const Json& keys : {byte_level_keys("nobody"), ties, not_utf8}) {
    const auto bad = write(keys);
    EXPECT_NE(testing::error_of([&] { check_tokenizer_export(*bad); }).find("m.gguf"),
              std::string::npos);
    EXPECT_THROW(gguf_tokenizer_files(*bad), Error);
  }
}

}  // namespace
}  // namespace bitsmith
