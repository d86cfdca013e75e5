#include "evaluate/chat_share.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"

namespace bitsmith {
namespace {

constexpr const char* kTemplate =
    "{{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}";

// Words that tell where they were.
std::string numbered_words(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += concat("word", i, i % 11 == 10 ? "\n" : " ");
  return text;
}

TEST(ChatShare, IsSpreadEvenly) {
  for (const double share : {0.0, 0.1, 0.25, 0.5, 0.7, 1.0}) {
    int64_t found = 0;
    for (int64_t n = 1; n <= 1000; ++n) {
      found += is_in_share(n - 1, share);
      EXPECT_EQ(found, static_cast<int64_t>(static_cast<double>(n) * share)) << share;
    }
  }
}

TEST(ChatShare, PiecesBecomeChatsAndNothingIsLost) {
  const ChatTemplate chat_template{kTemplate};
  const std::vector<Document> documents = {
      {numbered_words(1000)}, {"<|im_start|>user\nWho?<|im_end|>\n", true}, {numbered_words(40)}};
  const auto mixed = with_chats(documents, chat_template, 0.5);
  EXPECT_GT(count_chats(mixed), 2);
  std::string raw, said;
  for (const Document& document : mixed) {
    if (!document.chat) {
      raw += document.text + " ";
      EXPECT_EQ(document.text.find("<|im_start|>"), std::string::npos);
    } else if (document.text.find("Who?") == std::string::npos) {
      EXPECT_TRUE(document.text.starts_with("<|im_start|>system\nBe brief.<|im_end|>\n"));
      const size_t user = document.text.find("user\nword"),
                   answer = document.text.find("ant\nword");
      ASSERT_LT(user, answer);
      ASSERT_NE(answer, std::string::npos);
      said += document.text;
    }
  }
  for (int i = 0; i < 1000; ++i) {
    const std::string word = concat("word", i);
    const auto has = [&](const std::string& text) {
      return text.find(word + " ") != text.npos || text.find(word + "\n") != text.npos ||
             text.find(word + "<") != text.npos;
    };
    EXPECT_TRUE(has(raw) || has(said)) << word;
  }
  const double share =
      static_cast<double>(said.size()) / static_cast<double>(said.size() + raw.size());
  EXPECT_NEAR(share, 0.5, 0.2);
}

TEST(ChatShare, ZeroAndOne) {
  const ChatTemplate chat_template{kTemplate};
  const std::vector<Document> documents = {{numbered_words(1000)}, {"one"}};
  const auto none = with_chats(documents, chat_template, 0);
  ASSERT_EQ(none.size(), 2u);
  EXPECT_EQ(none[0].text, documents[0].text);
  const auto all = with_chats(documents, chat_template, 1);
  EXPECT_EQ(count_chats(all), static_cast<int64_t>(all.size()) - 1);
  EXPECT_EQ(all.back().text, "one");  // a word is no conversation
}

TEST(ChatShare, TextWithoutSpacesIsCutBetweenCharacters) {
  constexpr int kCharacters = 3000;  // of three bytes
  const std::string character = "\u5B57";
  std::string text;
  for (int i = 0; i < kCharacters; ++i) text += character;
  const auto mixed = with_chats({Document{text}}, ChatTemplate{kTemplate}, 1);
  EXPECT_EQ(count_chats(mixed), 5);
  int found = 0;
  for (const Document& document : mixed) {
    for (size_t at = 0; (at = document.text.find(character, at)) != std::string::npos; ++found)
      at += character.size();
  }
  EXPECT_EQ(found, kCharacters);
}

TEST(ChatShare, AUsersTurnBeginsAsTheTemplateSays) {
  const auto tokenizer =
      Tokenizer::open(std::filesystem::path(BITSMITH_TESTDATA) / "tiny_llama_trained");
  const ChatTemplate own(*tokenizer);
  const std::vector<int32_t> start = user_turn_start(own, *tokenizer);
  EXPECT_EQ(start, tokenizer->encode("<|im_start|>user\n", /*add_special=*/false, true));
  const ChatTemplate with_system{kTemplate};
  EXPECT_EQ(user_turn_start(with_system, *tokenizer),
            tokenizer->encode("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n",
                              /*add_special=*/false, true));
  EXPECT_THROW(user_turn_start(ChatTemplate(std::string()), *tokenizer), Error);
  EXPECT_THROW(user_turn_start(ChatTemplate("{{ messages[0]['content'] | upper }}"), *tokenizer),
               Error);
}

}  // namespace
}  // namespace bitsmith
