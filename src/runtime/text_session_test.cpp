#include "runtime/text_session.h"

#include <gtest/gtest.h>

#include "architecture/checkpoint.h"
#include "architecture/test_models.h"
#include "base/error.h"

namespace bitsmith {
namespace {

const std::filesystem::path kTrained =
    std::filesystem::path(BITSMITH_TESTDATA) / "tiny_llama_trained";
const RunContext kTwoThreads{.threads = 2};

AnswerOptions likeliest(int64_t max_tokens) {
  return {.sampling = {.temperature = 0}, .max_tokens = max_tokens};
}

TEST(TextSession, AnswersAndEndsItsTurn) {
  TextSession session(kTrained, kTwoThreads);
  ASSERT_TRUE(session.can_chat());
  EXPECT_EQ(session.context(), 256);  // what it was trained for
  std::string streamed;
  ChatRequest request;
  request.messages.push_back(chat_message("user", "What is 3 plus 4?"));
  const auto result =
      session.chat(request, likeliest(50), [&](const std::string& text) { streamed += text; });
  EXPECT_EQ(result.text, "3 plus 4 is 7.");
  EXPECT_EQ(streamed, result.text);
  EXPECT_EQ(result.generated.reason, FinishReason::kEndToken);
}

TEST(TextSession, AChatRunsOnlyItsNewPart) {
  TextSession session(kTrained, kTwoThreads), other(kTrained, kTwoThreads);
  ChatRequest request;
  request.messages.push_back(chat_message("user", "What is 3 plus 4?"));
  const auto first = session.chat(request, likeliest(50));
  request.messages.push_back(chat_message("assistant", first.text));
  request.messages.push_back(chat_message("user", "What does the dog do?"));
  const auto second = session.chat(request, likeliest(50));
  const auto fresh = other.chat(request, likeliest(50));
  EXPECT_EQ(second.text, fresh.text);
  EXPECT_LT(second.generated.prompt_tokens, fresh.generated.prompt_tokens);
}

TEST(TextSession, CompletesPlainText) {
  TextSession session(kTrained, kTwoThreads, {.context = 64});
  EXPECT_EQ(session.context(), 64);
  EXPECT_FALSE(session.complete("Anna has", likeliest(10)).text.empty());
  EXPECT_EQ(session.complete("", likeliest(3)).generated.prompt_tokens, 1);
  std::string long_text;
  for (int i = 0; i < 100; ++i) long_text += "Anna has 3 coins. ";
  EXPECT_THROW(session.complete(long_text, likeliest(3)), Error);
}

TEST(TextSession, NoContextBeyondLearnedPositions) {
  const auto model = std::filesystem::path(BITSMITH_TESTDATA) / "families" / "tiny_gpt2";
  EXPECT_EQ(TextSession(model, kTwoThreads).context(), 64);
  EXPECT_THROW(TextSession(model, kTwoThreads, {.context = 65}), UsageError);
}

TEST(TextSession, AnInt8CacheAnswersAlike) {
  TextSession session(kTrained, kTwoThreads, {.kv_cache = KvType::kInt8});
  ChatRequest request;
  request.messages.push_back(chat_message("user", "What is 3 plus 4?"));
  EXPECT_EQ(session.chat(request, likeliest(50)).text, "3 plus 4 is 7.");
}

TEST(TextSession, WhatTheListenerThrowsComesOut) {
  TextSession session(kTrained, kTwoThreads);
  const auto refuse = [](const std::string&) { throw UsageError("enough"); };
  EXPECT_THROW(session.complete("Anna has", likeliest(10), refuse), UsageError);
  EXPECT_FALSE(session.complete("Anna has", likeliest(10)).text.empty());
}

// Models whose embedding has more rows than the tokenizer has tokens.
TEST(TextSession, PaddingRowsAreNeverSampled) {
  const testing::TestFolder folder;
  const auto trained = Checkpoint::open(kTrained);
  testing::TestModel model;
  model.config = trained->config_json();
  const int64_t tokens = trained->plan().vocab_size, rows = tokens + 640;
  model.config["vocab_size"] = rows;
  for (const TensorView& tensor : trained->tensors()) {
    auto values = trained->read(tensor.name);
    auto shape = tensor.shape;
    if (shape[0] == tokens && shape.size() == 2) {
      values.resize(static_cast<size_t>(rows * shape[1]), 0.01f);
      shape[0] = rows;
    }
    model.tensors[tensor.name] = values;
    model.shapes[tensor.name] = shape;
  }
  model.write(folder.path());
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
    std::filesystem::copy_file(kTrained / file, folder.path() / file);
  TextSession session(folder.path(), kTwoThreads);
  const AnswerOptions options{.sampling = {.temperature = 50, .repetition_penalty = 1.1},
                              .max_tokens = 100};
  const auto result = session.complete("A", options);
  EXPECT_GT(result.generated.tokens.size(), 20u);
  for (const int32_t token : result.generated.tokens) EXPECT_LT(token, tokens);
}

// Random text of a random byte-level model is full of broken characters; what is streamed is not.
TEST(TextSession, StreamsWholeCharacters) {
  TextSession session(kTrained, kTwoThreads);
  const AnswerOptions options{.sampling = {.temperature = 50}, .max_tokens = 100};
  const auto result = session.complete("A", options, [](const std::string& text) {
    for (size_t i = 0; i < text.size();) {
      const auto lead = static_cast<unsigned char>(text[i]);
      const size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
      ASSERT_GE(lead < 0x80 ? 0xc2 : lead, 0xc2);
      ASSERT_LE(i + length, text.size());
      for (size_t j = 1; j < length; ++j)
        ASSERT_EQ(static_cast<unsigned char>(text[i + j]) & 0xc0, 0x80);
      i += length;
    }
  });
  EXPECT_GT(result.text.size(), 20u);
}

}  // namespace
}  // namespace bitsmith
