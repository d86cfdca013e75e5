#include "server/completion.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "architecture/checkpoint.h"
#include "architecture/test_models.h"
#include "base/files.h"
#include "checkpoint/test_files.h"
#include "server/test_server.h"

namespace bitsmith {
namespace {

using testing::events_of, testing::question, testing::TestServer;

TEST(Completion, ChatCompletion) {
  TestServer server;
  const OrderedJson json = server.post("/v1/chat/completions", question());
  EXPECT_EQ(json["object"], "chat.completion");
  EXPECT_EQ(json["model"], "tiny");
  EXPECT_EQ(json["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(json["choices"][0]["message"]["content"], "3 plus 4 is 7.");
  EXPECT_EQ(json["choices"][0]["finish_reason"], "stop");
  const OrderedJson& usage = json["usage"];
  EXPECT_EQ(usage["total_tokens"].get<int>(),
            usage["prompt_tokens"].get<int>() + usage["completion_tokens"].get<int>());
  EXPECT_EQ(server.post("/v1/chat/completions", question(2))["choices"][0]["finish_reason"],
            "length");
}

TEST(Completion, ChatStream) {
  TestServer server;
  OrderedJson body = question();
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  body["logprobs"] = true;
  body["top_logprobs"] = 2;
  const auto events = events_of(server.ask("POST", "/v1/chat/completions", body.dump()));
  ASSERT_GT(events.size(), 3u);
  EXPECT_EQ(events[0]["choices"][0]["delta"]["role"], "assistant");
  std::string text;
  int64_t tokens = 0;
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    EXPECT_EQ(events[i]["object"], "chat.completion.chunk");
    EXPECT_EQ(events[i]["id"], events[0]["id"]);
    EXPECT_TRUE(events[i]["usage"].is_null());
    const OrderedJson& choice = events[i]["choices"][0];
    text += choice["delta"].value("content", "");
    if (choice["logprobs"].is_null()) continue;
    for (const OrderedJson& token : choice["logprobs"]["content"]) {
      ++tokens;
      EXPECT_LE(token["logprob"].get<double>(), 0);
      EXPECT_EQ(token["top_logprobs"].size(), 2u);
      EXPECT_EQ(token["logprob"], token["top_logprobs"][0]["logprob"]);  // greedy
    }
  }
  EXPECT_EQ(text, "3 plus 4 is 7.");
  EXPECT_EQ(events[events.size() - 2]["choices"][0]["finish_reason"], "stop");
  EXPECT_TRUE(events.back()["choices"].empty());
  EXPECT_EQ(events.back()["usage"]["completion_tokens"].get<int64_t>() + 1, tokens);  // the end too
}

TEST(Completion, StopStringsEndTheAnswer) {
  TestServer server;
  for (const bool stream : {false, true}) {
    OrderedJson body = question();
    body["stop"] = {"never", "s 7"};
    body["stream"] = stream;
    std::string text, reason;
    if (stream) {
      for (const OrderedJson& event :
           events_of(server.ask("POST", "/v1/chat/completions", body.dump()))) {
        text += event["choices"][0]["delta"].value("content", "");
        if (!event["choices"][0]["finish_reason"].is_null())
          reason = event["choices"][0]["finish_reason"];
      }
    } else {
      const OrderedJson json = server.post("/v1/chat/completions", body);
      text = json["choices"][0]["message"]["content"];
      reason = json["choices"][0]["finish_reason"];
    }
    EXPECT_EQ(text, "3 plus 4 i");
    EXPECT_EQ(reason, "stop");
  }
}

TEST(Completion, TextCompletionEchoesLogprobs) {
  TestServer server;
  const OrderedJson ids = server.post("/tokenize", {{"text", "Anna has 3 coins."}})["tokens"];
  const OrderedJson json =
      server.post("/v1/completions", {{"prompt", OrderedJson::array({ids, ids})},
                                      {"echo", true},
                                      {"logprobs", 1},
                                      {"max_tokens", 1},
                                      {"temperature", 0},
                                      {"seed", 1234}});
  ASSERT_EQ(json["choices"].size(), 2u);
  EXPECT_EQ(json["choices"][1]["index"], 1);
  const OrderedJson& logprobs = json["choices"][0]["logprobs"];
  const size_t count = ids.size() + 1;
  for (const char* list : {"tokens", "token_logprobs", "top_logprobs", "text_offset"})
    EXPECT_EQ(logprobs[list].size(), count) << list;
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  for (size_t i = 1; i < count; ++i) {
    const double own = logprobs["token_logprobs"][i];
    ASSERT_EQ(logprobs["top_logprobs"][i].size(), 1u);
    EXPECT_LE(own, logprobs["top_logprobs"][i].front().get<double>());
    EXPECT_GE(logprobs["text_offset"][i], logprobs["text_offset"][i - 1]);
  }
  EXPECT_EQ(json["choices"][0]["logprobs"], json["choices"][1]["logprobs"]);
  EXPECT_TRUE(json["choices"][0]["text"].get<std::string>().starts_with("Anna has 3 coins."));
  // The prompt alone.
  const OrderedJson scored = server.post(
      "/v1/completions",
      {{"prompt", ids}, {"echo", true}, {"logprobs", 0}, {"max_tokens", 0}, {"temperature", 0}});
  EXPECT_EQ(scored["choices"][0]["text"], "Anna has 3 coins.");
  EXPECT_EQ(scored["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(scored["usage"]["completion_tokens"], 0);
  EXPECT_EQ(scored["choices"][0]["logprobs"]["token_logprobs"][2], logprobs["token_logprobs"][2]);
}

TEST(Completion, IdsThatOnlyTheModelHasAreEmptyText) {
  // The model has one row more than its tokenizer, as those whose rows are padded.
  const testing::TestFolder folder;
  for (const char* file : {"config.json", "model.safetensors"})
    std::filesystem::copy_file(testing::kTrained / file, folder.path() / file);
  OrderedJson tokenizer =
      parse_ordered_json(read_text_file(testing::kTrained / "tokenizer.json"), "tokenizer.json");
  OrderedJson& bpe = tokenizer["model"];
  std::string last;
  for (const auto& [token, id] : bpe["vocab"].items())
    if (id == 383) last = token;
  bpe["vocab"].erase(last);
  bpe["merges"].erase(bpe["merges"].size() - 1);
  write_json_file(folder.path() / "tokenizer.json", tokenizer);
  TestServer server({}, {}, folder.path());
  OrderedJson body = {
      {"prompt", {383, 5, 383}}, {"echo", true}, {"logprobs", 1}, {"max_tokens", 0}};
  const OrderedJson whole = server.post("/v1/completions", body)["choices"][0]["logprobs"];
  EXPECT_EQ(whole["tokens"][0], "");
  EXPECT_EQ(whole["tokens"][2], "");
  EXPECT_TRUE(whole["token_logprobs"][2].is_number());
  body["stream"] = true;
  const auto events = events_of(server.ask("POST", "/v1/completions", body.dump()));
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events[0]["choices"][0]["logprobs"], whole);
}

TEST(Completion, StreamedTextIsTheWholeText) {
  TestServer server;
  OrderedJson body = {{"prompt", {"Anna has", "The dog"}},
                      {"temperature", 0.8},
                      {"seed", 3},
                      {"max_tokens", 30},
                      {"echo", true}};
  const OrderedJson whole = server.post("/v1/completions", body);
  body["stream"] = true;
  std::vector<std::string> texts(2);
  for (const OrderedJson& event : events_of(server.ask("POST", "/v1/completions", body.dump()))) {
    const OrderedJson& choice = event["choices"][0];
    texts[choice["index"].get<size_t>()] += choice["text"].get<std::string>();
  }
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(texts[i], whole["choices"][i]["text"]);
  EXPECT_TRUE(texts[1].starts_with("The dog"));
}

// What the answers of a stream had said when one of them failed comes before the error.
TEST(Completion, NoPieceIsLostToAnError) {
  ServeOptions options;
  options.context.context = 8000;
  options.batch.parallel = 2;
  TestServer server(options);
  const OrderedJson body = {{"prompt", {"Anna has", "The dog"}},
                            {"max_tokens", 7000},
                            {"ignore_eos", true},
                            {"logprobs", 0},
                            {"stream", true}};
  HttpResponse response = server.ask("POST", "/v1/completions", body.dump());
  std::string text, piece;
  ASSERT_TRUE(response.stream->next(text));
  while (server.engine.stats().generated_tokens < 100)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  server.engine.stop();
  while (response.stream->next(piece)) text += piece;
  int64_t said = 0;
  OrderedJson last;
  for (size_t begin = 0, end; (end = text.find("\n\n", begin)) != text.npos; begin = end + 2) {
    const std::string data = text.substr(begin + 6, end - begin - 6);
    if (data == "[DONE]") break;
    last = OrderedJson::parse(data);
    if (last.contains("choices") && !last["choices"][0]["logprobs"].is_null())
      said += std::ssize(last["choices"][0]["logprobs"]["tokens"]);
  }
  EXPECT_EQ(said, server.engine.stats().generated_tokens);
  EXPECT_EQ(last["error"]["code"], "stopping");
}

TEST(Completion, ErrorsOfTheModelAreTheServers) {
  const testing::TestFolder folder;
  const auto trained = Checkpoint::open(testing::kTrained);
  testing::TestModel model;
  model.config = trained->config_json();
  for (const TensorView& tensor : trained->tensors()) {
    auto& values = model.tensors[tensor.name] = trained->read(tensor.name);
    model.shapes[tensor.name] = tensor.shape;
    if (tensor.name == "model.norm.weight") std::ranges::fill(values, 3e38f);
  }
  model.write(folder.path());
  std::filesystem::copy_file(testing::kTrained / "tokenizer.json",
                             folder.path() / "tokenizer.json");
  TestServer server({}, {}, folder.path());
  const OrderedJson error = server.post("/v1/completions", {{"prompt", "Anna"}}, 500)["error"];
  EXPECT_NE(error["message"].get<std::string>().find("not a number"), std::string::npos);
  EXPECT_EQ(error["type"], "server_error");
  server.engine.stop();
  EXPECT_THROW(server.engine.run([](Engine&) {}), EngineStopped);
}

// A client that has gone is noticed only when something is written to it.
TEST(Completion, ASilentStreamSaysThatItIsThere) {
  TestServer server;
  int64_t comments = 0;
  // On a busy machine all tokens may be there before the first look.
  for (int attempt = 0; attempt < 50 && comments == 0; ++attempt) {
    CompletionPrompt prompt;
    prompt.request.prompt = std::vector<int32_t>(200, 3);
    prompt.request.max_tokens = 3;
    std::vector<CompletionPrompt> prompts;
    prompts.push_back(std::move(prompt));
    Completion completion(
        {.engine = server.engine,
         .tokenizer = server.model.tokenizer(),
         .format = CompletionFormat({.chat = false, .id = "1", .created = 0, .model = "tiny"}),
         .max_queue = 8,
         .deadline = {},
         .disconnected = [] { return false; },
         .silence = std::chrono::milliseconds(0)},
        {}, std::move(prompts));
    std::string last;
    for (std::string events; !(events = completion.next_events()).empty(); last = events)
      comments += events == CompletionFormat::comment_event();
    EXPECT_TRUE(last.ends_with("data: [DONE]\n\n"));
  }
  EXPECT_GT(comments, 0);
}

TEST(Completion, ASeedDecides) {
  TestServer server;
  OrderedJson body = {{"prompt", "Anna"}, {"temperature", 2}, {"max_tokens", 40}};
  const auto text = [&] { return server.post("/v1/completions", body)["choices"][0]["text"]; };
  EXPECT_NE(text(), text());
  body["seed"] = 5;
  const OrderedJson first = text();
  EXPECT_EQ(text(), first);
  body["seed"] = 6;
  EXPECT_NE(text(), first);
}

TEST(Completion, TheContextIsSaid) {
  ServeOptions options;
  options.context.context = 32;
  TestServer server(options);
  const OrderedJson long_prompt = {{"prompt", std::vector<int>(33, 3)}};
  EXPECT_EQ(server.post("/v1/completions", long_prompt, 400)["error"]["code"],
            "context_length_exceeded");
  const OrderedJson full =
      server.post("/v1/completions",
                  {{"prompt", std::vector<int>(30, 3)}, {"max_tokens", 20}, {"temperature", 0}});
  EXPECT_NE(full["choices"][0]["finish_reason"], "error");
  EXPECT_LE(full["usage"]["completion_tokens"].get<int>(), 3);
}

TEST(Completion, NoMorePromptsThanRunAndWait) {
  ServeOptions options;
  options.batch.parallel = 2;
  options.max_queue = 1;
  TestServer server(options);
  const auto prompts = [](size_t count) -> OrderedJson {
    return {{"prompt", std::vector<std::string>(count, "Anna")}, {"max_tokens", 2}};
  };
  EXPECT_EQ(server.post("/v1/completions", prompts(3))["choices"].size(), 3u);
  EXPECT_EQ(server.post("/v1/completions", prompts(4), 400)["error"]["param"], "prompt");
}

TEST(Completion, ManyClients) {
  ServeOptions options;
  options.batch.parallel = 3;
  TestServer server(options);
  const auto body = [](int i) -> OrderedJson {
    return {{"prompt", "Anna has " + std::to_string(i % 5)},
            {"max_tokens", 20},
            {"temperature", 1.5},
            {"seed", i % 5}};
  };
  std::vector<OrderedJson> expected;
  for (int i = 0; i < 5; ++i)
    expected.push_back(server.post("/v1/completions", body(i))["choices"][0]["text"]);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> clients;
  for (int c = 0; c < 6; ++c) {
    clients.emplace_back([&, c] {
      for (int i = c; i < c + 8; ++i) {
        OrderedJson request = body(i);
        if (i % 3 == 0) {
          request["stream"] = true;
          HttpResponse stream = server.ask("POST", "/v1/completions", request.dump());
          std::string piece;
          stream.stream->next(piece);  // and goes
          continue;
        }
        const HttpResponse response = server.ask("POST", "/v1/completions", request.dump());
        wrong +=
            response.status != 200 || OrderedJson::parse(response.body)["choices"][0]["text"] !=
                                          expected[static_cast<size_t>(i % 5)];
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace bitsmith
