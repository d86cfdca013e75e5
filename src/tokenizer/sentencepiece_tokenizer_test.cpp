#include "tokenizer/sentencepiece_tokenizer.h"

#include <gtest/gtest.h>
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include "base/error.h"
#include "tokenizer/space_cut.h"

namespace bitsmith {
namespace {

using Ids = std::vector<int32_t>;

class Sentences final : public sentencepiece::SentenceIterator {
 public:
  bool done() const override { return next_ == 120; }
  void Next() override { ++next_; }
  const std::string& value() const override { return sentences_[next_ % sentences_.size()]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<std::string> sentences_ = {"the cat sat on the mat", "a cat and a hat",
                                         "that is that"};
  size_t next_ = 0;
};

// A model of a few words, trained here; with these flags too.
std::string trained_model(const std::string& flags) {
  Sentences sentences;
  std::string out;
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      "--model_type=bpe --vocab_size=290 --byte_fallback=true --hard_vocab_limit=false "
      "--minloglevel=2" +
          flags,
      &sentences, &out);
  EXPECT_TRUE(status.ok()) << status.message();
  return out;
}

const std::string& model_bytes() {
  static const std::string bytes = trained_model("");
  return bytes;
}

TEST(SentencePiece, EqualsTheLibraryAndRoundTrips) {
  const auto t = make_sentencepiece_tokenizer(model_bytes(), {}, "tiny.model");
  sentencepiece::SentencePieceProcessor processor;
  ASSERT_TRUE(processor.LoadFromSerializedProto(model_bytes()).ok());
  for (const std::string text : {"the cat sat", "a \u00E9t\u00E9 hat", "", "that!"}) {
    std::vector<int> expected;
    ASSERT_TRUE(processor.Encode(text, &expected).ok());
    EXPECT_EQ(t->encode(text, false), Ids(expected.begin(), expected.end()));
    EXPECT_EQ(t->decode(t->encode(text), true), text);
  }
  EXPECT_EQ(t->vocab_size(), processor.GetPieceSize());
  EXPECT_EQ(t->bos_id, 1);
  EXPECT_EQ(t->eos_id, 2);
  EXPECT_EQ(t->token_id("</s>"), 2);
  EXPECT_EQ(t->token_id("no such piece"), std::nullopt);
}

// Such texts go to the library in parts.
TEST(SentencePiece, LongTextsEqualTheLibrary) {
  const auto t = make_sentencepiece_tokenizer(model_bytes(), {}, "tiny.model");
  sentencepiece::SentencePieceProcessor processor;
  ASSERT_TRUE(processor.LoadFromSerializedProto(model_bytes()).ok());
  const std::string a_lot = [] {
    std::string text;
    for (int i = 0; text.size() < 100'000; ++i)
      text += i % 7 == 0   ? "that  is,  \u00E9t\u00E9 \u00E9 "
              : i % 3 == 0 ? "a cat and a hat\n"
                           : "the cat sat on the mat 1 2 ";
    return text;
  }();
  for (const std::string& text :
       {a_lot, " " + a_lot + " ", std::string(100'000, 'a'), std::string(100'000, ' '),
        "a" + std::string(100'000, ' ') + "a"}) {
    std::vector<int> expected;
    ASSERT_TRUE(processor.Encode(text, &expected).ok());
    EXPECT_EQ(t->encode(text, false), Ids(expected.begin(), expected.end()));
    EXPECT_THROW(t->encode(text, false, true, Deadline(std::chrono::seconds(0))), DeadlineError);
  }
}

// Models that put no space before a text: those that drop its first spaces, and those that do not.
TEST(SentencePiece, LongTextsWithoutASpaceBeforeThem) {
  std::string text;
  while (text.size() < 60'000) text += "the cat sat on the mat ";
  for (const char* flags : {" --add_dummy_prefix=false",
                            " --add_dummy_prefix=false --remove_extra_whitespaces=false"}) {
    const std::string bytes = trained_model(flags);
    const auto t = make_sentencepiece_tokenizer(bytes, {}, "tiny.model");
    sentencepiece::SentencePieceProcessor processor;
    ASSERT_TRUE(processor.LoadFromSerializedProto(bytes).ok());
    std::vector<int> expected;
    ASSERT_TRUE(processor.Encode(text, &expected).ok());
    EXPECT_EQ(t->encode(text, false), Ids(expected.begin(), expected.end())) << flags;
  }
}

// Such runs are one token, and go to the library in parts.
TEST(SentencePiece, LongRunsWithoutPiecesEqualTheLibrary) {
  const auto repeated = [](const std::string& text) {
    std::string run;
    while (run.size() < 40'000) run += text;
    return run;
  };
  for (const char* flags :
       {" --model_type=unigram --vocab_size=24 --byte_fallback=false",
        " --model_type=unigram --vocab_size=24 --byte_fallback=false --add_dummy_prefix=false",
        " --byte_fallback=false --normalization_rule_name=identity"}) {
    SCOPED_TRACE(flags);
    const std::string bytes = trained_model(flags);
    const auto t = make_sentencepiece_tokenizer(bytes, {}, "tiny.model");
    sentencepiece::SentencePieceProcessor processor;
    ASSERT_TRUE(processor.LoadFromSerializedProto(bytes).ok());
    const std::string mixed =
        "\u4E00" + repeated("Z\u0301\u4E00") + "that" + repeated("7") + "a 7 ";
    for (const std::string& text :
         {repeated("Z"), repeated("."), repeated("\n"), repeated("\u4E00"), repeated("\u0301"),
          repeated("e\u0301"), repeated("\uFB01"), mixed}) {
      std::vector<int> expected;
      ASSERT_TRUE(processor.Encode(text, &expected).ok());
      EXPECT_EQ(t->encode(text, false), Ids(expected.begin(), expected.end())) << excerpt(text, 12);
    }
  }
}

TEST(SentencePiece, PlacesOfCuts) {
  EXPECT_EQ(find_space_cut("a b c", 0), 1u);
  EXPECT_EQ(find_space_cut("a b c", 1), 1u);
  EXPECT_EQ(find_space_cut("a b c", 2), 3u);
  EXPECT_EQ(find_space_cut("a b c", 4), 5u);
  EXPECT_EQ(find_space_cut("a  b, c \u00E9 d Z 9", 0), 12u);
  for (const std::string text : {"", " ", "a ", " a", "a\tb", "a, b", "a  b"})
    EXPECT_EQ(find_space_cut(text, 0), text.size()) << text;
}

TEST(SentencePiece, SpecialTokens) {
  const auto t = make_sentencepiece_tokenizer(model_bytes(), {}, "tiny.model");
  const Ids cat = t->encode("cat", false);
  Ids expected = {1};
  expected.insert(expected.end(), cat.begin(), cat.end());
  EXPECT_EQ(t->encode("cat"), expected);
  expected.push_back(2);
  EXPECT_EQ(t->encode("cat</s>"), expected);
  EXPECT_EQ(t->decode(expected), "<s>cat</s>");
  EXPECT_EQ(t->decode(expected, true), "cat");
  EXPECT_EQ(t->encode("</s>", false, false).front() == 2, false);
}

TEST(SentencePiece, AddedTokens) {
  SentencePieceOptions options;
  AddedToken token;
  token.id = 1000;
  token.content = "[turn]";
  options.added_tokens.push_back(token);
  options.add_bos = false;
  options.add_eos = true;
  const auto t = make_sentencepiece_tokenizer(model_bytes(), options, "tiny.model");
  EXPECT_EQ(t->encode("[turn]"), (Ids{1000, 2}));
  EXPECT_EQ(t->vocab_size(), 1001);
  EXPECT_EQ(t->decode(Ids{1000}), "[turn]");
  EXPECT_EQ(t->token_bytes(999), "");
}

TEST(SentencePiece, TokenBytesJoinToTheText) {
  const auto t = make_sentencepiece_tokenizer(model_bytes(), {}, "tiny.model");
  std::string joined;
  for (const int32_t id : t->encode("a cat, \u20AC", false)) joined += t->token_bytes(id);
  EXPECT_EQ(joined, " a cat, \u20AC");
}

// The library answers some damage with exceptions of its own.
TEST(SentencePiece, PiecesThatTheLibraryThrowsAtAreErrors) {
  const auto piece = [](const std::string& text, int type) {
    const std::string message = "\x0a" + std::string(1, static_cast<char>(text.size())) + text +
                                "\x18" + std::string(1, static_cast<char>(type));
    return "\x0a" + std::string(1, static_cast<char>(message.size())) + message;
  };
  const std::string start = piece("<unk>", 2) + piece("a", 1);
  EXPECT_EQ(make_sentencepiece_tokenizer(start, {}, "x")->vocab_size(), 2);
  EXPECT_THROW(make_sentencepiece_tokenizer(start + piece(std::string("\0b", 2), 1), {}, "x"),
               Error);
}

TEST(SentencePiece, OtherFilesAreErrors) {
  EXPECT_THROW(make_sentencepiece_tokenizer("nothing of the kind", {}, "x"), Error);
  EXPECT_THROW(make_sentencepiece_tokenizer("", {}, "x"), Error);
  try {
    make_sentencepiece_tokenizer("IQ== 0\nIg== 1\n", {}, "x");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("tiktoken"), std::string::npos);
  }
}

}  // namespace
}  // namespace bitsmith
