#include "tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "tokenizer/tiny_tokenizers.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

class TokenizerFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / "bitsmith_tokenizer_test" /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) {
    write_file_atomic(folder_ / name, text);
  }
  void write_tokenizer(const std::string& special) {
    Json json = byte_level_json(english_merges());
    json["added_tokens"][0]["content"] = special;
    write("tokenizer.json", json.dump());
  }
  fs::path folder_;
};

TEST_F(TokenizerFolder, ReadsTheSpecialTokens) {
  write_tokenizer("<|end|>");
  EXPECT_EQ(Tokenizer::open(folder_)->eos_id, std::nullopt);
  EXPECT_THROW(Tokenizer::open(folder_)->document_separator(), Error);
  for (const char* eos : {"1", "[1, 2]"}) {
    write("config.json", concat("{\"eos_token_id\": ", eos, "}"));
    EXPECT_EQ(Tokenizer::open(folder_)->document_separator(), 1) << eos;
  }
  for (const char* eos : {"-1", "1000000", "[]", "null"}) {
    write("config.json", concat("{\"eos_token_id\": ", eos, "}"));
    EXPECT_EQ(Tokenizer::open(folder_)->eos_id, std::nullopt) << eos;
  }
  for (const char* eos : {"1e99", "\"x\"", "[1e99]"}) {
    write("config.json", concat("{\"eos_token_id\": ", eos, "}"));
    EXPECT_THROW(Tokenizer::open(folder_), Error) << eos;
  }
  std::filesystem::remove(folder_ / "config.json");
  write("tokenizer_config.json",
        R"({"eos_token": "<|end|>", "bos_token": {"content": "the"}, "chat_template": "one"})");
  const auto t = Tokenizer::open(folder_);
  EXPECT_EQ(t->eos_id, kEnd);
  EXPECT_EQ(t->bos_id, kThe);
  EXPECT_EQ(t->chat_template, "one");
  EXPECT_EQ(t->named_tokens,
            (std::map<std::string, std::string>{{"bos_token", "the"}, {"eos_token", "<|end|>"}}));
  EXPECT_EQ(t->document_separator(), kEnd);
  EXPECT_EQ(t->special_tokens(), std::vector<std::string>{"<|end|>"});
}

TEST_F(TokenizerFolder, DocumentsEndWithEndoftextWhereItExists) {
  write_tokenizer("<|endoftext|>");
  write("tokenizer_config.json", R"({"eos_token": "the", "bos_token": null})");
  EXPECT_EQ(Tokenizer::open(folder_)->document_separator(), kEnd);
}

TEST_F(TokenizerFolder, ChatTemplateOfItsOwnFileWins) {
  write_tokenizer("<|end|>");
  write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}]})");
  EXPECT_EQ(Tokenizer::open(folder_)->chat_template, "b");
  EXPECT_EQ(Tokenizer::open(folder_)->tool_use_template, "a");
  write("chat_template.jinja", "c");
  EXPECT_EQ(Tokenizer::open(folder_)->chat_template, "c");
}

TEST_F(TokenizerFolder, SpecialTokensInsideOfStretchesAreText) {
  for (const bool normalized : {false, true}) {  // GPT-2's is searched in normalized text
    Json json = byte_level_json(english_merges());
    json["added_tokens"][0]["normalized"] = normalized;
    write("tokenizer.json", json.dump());
    const auto t = Tokenizer::open(folder_);
    const std::string text = "cat<|end|>cat<|end|>";
    const auto ids = [&](const std::vector<Span>& stretches) {
      return t->encode(text, false, ParseSpecial::outside_of(stretches));
    };
    const auto ends = [](const std::vector<int32_t>& found) {
      return std::count(found.begin(), found.end(), kEnd);
    };
    EXPECT_EQ(ids({}), t->encode(text, false, true));
    EXPECT_EQ(ids({{0, text.size()}}), t->encode(text, false, false));
    EXPECT_EQ(ends(ids({})), 2);
    EXPECT_EQ(ends(ids({{0, 10}})), 1);
    EXPECT_EQ(ends(ids({{9, 10}, {13, 14}})), 0);  // a single byte of each
    EXPECT_EQ(ends(ids({{0, 3}, {10, 13}})), 2);   // beside them
  }
}

// Llama's first tokenizers: a normalizer changes every text, and special tokens are searched behind
// it.
TEST_F(TokenizerFolder, ANormalizerDoesNotMixTheTextsOfUsersAndTemplates) {
  Json json = metaspace_json({"\u2581"}, {});
  for (Json& token : json["added_tokens"]) token["normalized"] = true;
  Json& steps = json["normalizer"]["normalizers"];
  const Json wide_to_narrow = {{"type", "NFKC"}};
  steps.insert(steps.begin(), wide_to_narrow);
  write("tokenizer.json", json.dump());
  const auto t = Tokenizer::open(folder_);
  const auto starts = [&](const std::string& text, const std::vector<Span>& stretches) {
    const auto ids = t->encode(text, false, ParseSpecial::outside_of(stretches));
    return std::count(ids.begin(), ids.end(), 1);
  };
  const std::string text = "<s>h\u00E9 <s>";  // normalized, both are a mark and <s>
  EXPECT_EQ(starts(text, {}), 2);
  EXPECT_EQ(starts(text, {{3, 6}}), 2);  // what the template wrote, beside a user's text
  EXPECT_EQ(starts(text, {{3, 10}}), 1);
  EXPECT_EQ(starts(text, {{0, 10}}), 0);
  // Wide letters, which the normalizer makes narrow.
  const std::string wide = "<s> \uFF1Cs\uFF1E";
  EXPECT_EQ(starts(wide, {}), 2);
  EXPECT_EQ(starts(wide, {{4, wide.size()}}), 1);
}

TEST_F(TokenizerFolder, EncodingEndsAtTheDeadline) {
  const Deadline over(std::chrono::seconds(0)), later(std::chrono::seconds(600));
  write_tokenizer("<|end|>");
  const auto t = Tokenizer::open(folder_);
  EXPECT_THROW(t->encode("cat", true, true, over), DeadlineError);
  EXPECT_EQ(t->encode("cat", true, true, later), t->encode("cat"));
}

TEST_F(TokenizerFolder, AFileAloneWorksToo) {
  write_tokenizer("<|end|>");
  EXPECT_EQ(Tokenizer::open(folder_ / "tokenizer.json")->encode("cat"), std::vector<int32_t>{kCat});
}

TEST_F(TokenizerFolder, ErrorsNameThePath) {
  const auto error = [](const fs::path& path) {
    try {
      Tokenizer::open(path);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_NE(error(folder_).find("no tokenizer.json and no tokenizer.model"), std::string::npos);
  EXPECT_NE(error(folder_ / "absent").find("absent"), std::string::npos);
  write("tokenizer.model", "IQ== 0\n");
  EXPECT_NE(error(folder_).find("tiktoken"), std::string::npos);
  write("tokenizer.json", "{}");
  EXPECT_NE(error(folder_).find("tokenizer.json"), std::string::npos);
  write_tokenizer("<|end|>");
  write("tokenizer_config.json", R"({"eos_token": 3})");
  EXPECT_NE(error(folder_).find("eos_token"), std::string::npos);
}

}  // namespace
}  // namespace bitsmith
