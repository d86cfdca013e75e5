#include "evaluate/text_warnings.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace bitsmith {
namespace {

// Knows no text but its special tokens.
class SpecialTokenizer : public Tokenizer {
 public:
  explicit SpecialTokenizer(bool adds) : adds_(adds) {
    bos_id = 1;
    eos_id = 2;
  }
  std::vector<int32_t> encode(std::string_view, bool add_special, ParseSpecial,
                              const Deadline&) const override {
    return adds_ && add_special ? std::vector<int32_t>{1} : std::vector<int32_t>{};
  }
  std::string decode(std::span<const int32_t>, bool) const override { return ""; }
  std::string token_bytes(int32_t) const override { return ""; }
  int32_t vocab_size() const override { return 8; }
  std::optional<int32_t> token_id(std::string_view) const override { return {}; }
  std::vector<std::string> special_tokens() const override { return {"</s>", "<s>", ""}; }

 private:
  bool adds_;
};

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(AbsurdPerplexity, IsAboveTheBoundOrNearToGuessing) {
  EXPECT_EQ(absurd_perplexity_warning("a.txt", 999, 10, 50000), "");
  const std::string warning = absurd_perplexity_warning("a.txt", 1234.4, 10, 50000);
  EXPECT_TRUE(warning.starts_with("a.txt: ")) << warning;
  EXPECT_TRUE(says(warning, "absurd")) << warning;
  EXPECT_TRUE(says(warning, "1234")) << warning;
  EXPECT_TRUE(says(warning, "10 tokens")) << warning;
  EXPECT_EQ(absurd_perplexity_warning("a.txt", 100, 10, 400), "");
  EXPECT_NE(absurd_perplexity_warning("a.txt", 101, 10, 400), "");
}

TEST(SpelledTokens, AreCountedInPlainDocuments) {
  const SpecialTokenizer tokenizer(true);
  EXPECT_EQ(spelled_tokens_warning("a.txt", {{"a < s > b"}, {"<s>a</s>", true}}, tokenizer), "");
  const std::string one = spelled_tokens_warning("a.txt", {{"a </s>"}}, tokenizer);
  EXPECT_TRUE(says(one, "a.txt: 1 special token is")) << one;
  const std::string many =
      spelled_tokens_warning("a.txt", {{"plain"}, {"a <s> b </s><s>"}, {"</s>"}}, tokenizer);
  EXPECT_TRUE(says(many, "4 special tokens are")) << many;
  EXPECT_TRUE(says(many, "the first <s>")) << many;
  // Of a chat those that the template did not write.
  const std::string chat = spelled_tokens_warning(
      "a.jsonl", {{"<s>a</s></s>b<s></s>", true, {{3, 8}, {12, 16}}}}, tokenizer);
  EXPECT_TRUE(says(chat, "2 special tokens are")) << chat;
  EXPECT_TRUE(says(chat, "the first </s>")) << chat;
}

TEST(Bos, IsDoubledSideBySideOnly) {
  SpecialTokenizer tokenizer(true);
  EXPECT_EQ(count_doubled_bos(std::vector<int32_t>{1, 5, 1, 6, 2, 1}, tokenizer), 0);
  EXPECT_EQ(count_doubled_bos(std::vector<int32_t>{1, 1, 5, 1, 1, 1}, tokenizer), 3);
  EXPECT_EQ(count_doubled_bos(std::vector<int32_t>{}, tokenizer), 0);
  EXPECT_TRUE(says(doubled_bos_warning("a.txt", 3, tokenizer), "3 places"));
  EXPECT_EQ(doubled_bos_warning("a.txt", 0, tokenizer), "");
  tokenizer.eos_id = 1;  // an end and a beginning
  EXPECT_EQ(count_doubled_bos(std::vector<int32_t>{1, 1}, tokenizer), 0);
  tokenizer.bos_id.reset();
  EXPECT_EQ(count_doubled_bos(std::vector<int32_t>{1, 1}, tokenizer), 0);
}

TEST(Bos, IsMissingWhereTheTokenizerAddsIt) {
  const SpecialTokenizer adds(true), adds_none(false);
  EXPECT_TRUE(says(missing_bos_warning("a.txt", false, adds), "a.txt: windows begin without"));
  EXPECT_EQ(missing_bos_warning("a.txt", true, adds), "");
  EXPECT_EQ(missing_bos_warning("a.txt", false, adds_none), "");
}

}  // namespace
}  // namespace bitsmith
