#include "server/routes.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "architecture/test_models.h"

namespace bitsmith {
namespace {

const std::filesystem::path kTrained =
    std::filesystem::path(BITSMITH_TESTDATA) / "tiny_llama_trained";

// The server without its sockets.
class TestServer {
 public:
  explicit TestServer(const ServeOptions& options = {}, std::optional<ApiKey> key = {},
                      const std::filesystem::path& model = kTrained)
      : model_(model, 2, options.context, options.batch),
        engine(model_.engine()),
        routes(model_, engine, options, std::move(key), "tiny", 0) {}

  HttpResponse ask(const std::string& method, const std::string& path, const std::string& body = "",
                   std::map<std::string, std::string> headers = {}) {
    HttpRequest request;
    request.method = method;
    request.path = path;
    request.body = body;
    request.headers = std::move(headers);
    if (method == "POST") request.headers.emplace("content-type", "application/json");
    request.client = "test";
    return routes.handle(request);
  }
  OrderedJson get(const std::string& path) { return json(ask("GET", path)); }
  OrderedJson post(const std::string& path, const OrderedJson& body, int status = 200) {
    return json(ask("POST", path, body.dump()), status);
  }
  static OrderedJson json(const HttpResponse& response, int status = 200) {
    EXPECT_EQ(response.status, status) << response.body;
    EXPECT_EQ(response.content_type, "application/json");
    return OrderedJson::parse(response.body);
  }

 private:
  TextModel model_;

 public:
  EngineThread engine;
  Routes routes;
};

OrderedJson question(int64_t max_tokens = 50) {
  return {{"messages", OrderedJson::array({{{"role", "user"}, {"content", "What is 3 plus 4?"}}})},
          {"temperature", 0},
          {"max_tokens", max_tokens}};
}

// The events of a stream, without the last: [DONE].
std::vector<OrderedJson> events_of(HttpResponse response) {
  EXPECT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.content_type, "text/event-stream");
  std::string text, piece;
  while (response.stream->next(piece)) text += piece;
  std::vector<OrderedJson> events;
  for (size_t end; (end = text.find("\n\n")) != std::string::npos; text.erase(0, end + 2)) {
    EXPECT_EQ(text.substr(0, 6), "data: ");
    const std::string data = text.substr(6, end - 6);
    if (data == "[DONE]") {
      EXPECT_EQ(text.size(), end + 2);
      return events;
    }
    events.push_back(OrderedJson::parse(data));
  }
  ADD_FAILURE() << "no [DONE]";
  return events;
}

TEST(Routes, ChatCompletion) {
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

TEST(Routes, ChatStream) {
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

TEST(Routes, StopStringsEndTheAnswer) {
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

// What lm-evaluation-harness asks for: the log-probabilities of a prompt of ids.
TEST(Routes, TextCompletionEchoesLogprobs) {
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

TEST(Routes, StreamedTextIsTheWholeText) {
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

TEST(Routes, ASeedDecides) {
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

TEST(Routes, TokensAndText) {
  TestServer server;
  const std::string text = "Anna has \xE2\x82\xAC 3.";
  const OrderedJson tokens = server.post("/tokenize", {{"text", text}});
  EXPECT_EQ(tokens["count"], tokens["tokens"].size());
  EXPECT_EQ(
      server.post("/detokenize", {{"tokens", tokens["tokens"]}, {"skip_special", true}})["text"],
      text);
  EXPECT_EQ(server.post("/detokenize", {{"tokens", {1 << 20}}}, 400)["error"]["param"], "tokens");
  EXPECT_EQ(server.post("/tokenize", OrderedJson::object(), 400)["error"]["param"], "text");
}

TEST(Routes, Errors) {
  ServeOptions options;
  options.max_tokens = 100;
  options.max_prompt = 60;
  TestServer server(options);
  const auto error = [&](const HttpResponse& response, int status) {
    const OrderedJson json = TestServer::json(response, status);
    EXPECT_FALSE(json["error"]["message"].get<std::string>().empty());
    EXPECT_TRUE(json["error"].contains("param"));
    return json["error"].value("code", OrderedJson());
  };
  EXPECT_EQ(error(server.ask("GET", "/nothing"), 404), "unknown_url");
  EXPECT_EQ(error(server.ask("GET", "/v1/completions"), 405), "method_not_allowed");
  EXPECT_EQ(error(server.ask("DELETE", "/v1/models"), 405), "method_not_allowed");
  EXPECT_EQ(error(server.ask("GET", "/v1/models/other"), 404), "model_not_found");
  EXPECT_EQ(
      error(server.ask("POST", "/v1/completions", "{}", {{"content-type", "text/plain"}}), 415),
      "content_type");
  const auto complete = [&](const OrderedJson& body, int status) {
    return error(server.ask("POST", "/v1/completions", body.dump()), status);
  };
  EXPECT_EQ(complete({{"prompt", "a"}, {"model", "gpt-4"}}, 404), "model_not_found");
  complete({{"prompt", "a"}, {"max_tokens", 101}}, 400);
  EXPECT_EQ(complete({{"prompt", std::vector<int>(61, 3)}}, 400), "context_length_exceeded");
  complete({{"prompt", {3, 384}}}, 400);  // no token of the model
  EXPECT_EQ(error(server.ask("POST", "/v1/chat/completions",
                             R"({"messages": [{"role": "user", "content": "a"}], "x": 1})"),
                  400),
            OrderedJson());
}

TEST(Routes, AModelWithoutATemplateCannotChat) {
  const testing::TestFolder folder;
  for (const char* file : {"config.json", "model.safetensors", "tokenizer.json"})
    std::filesystem::copy_file(kTrained / file, folder.path() / file);
  TestServer server({}, {}, folder.path());
  const OrderedJson json = server.post("/v1/chat/completions", question(), 400);
  EXPECT_NE(json["error"]["message"].get<std::string>().find("/v1/completions"), std::string::npos);
  server.post("/v1/completions", {{"prompt", "Anna"}});
}

TEST(Routes, TheContextIsSaid) {
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

TEST(Routes, AKeyIsAskedFor) {
  TestServer server({}, ApiKey("secret"));
  EXPECT_EQ(server.ask("GET", "/health").status, 200);
  EXPECT_EQ(server.ask("GET", "/").status, 200);
  for (const char* path : {"/v1/models", "/metrics", "/nothing"})
    EXPECT_EQ(server.ask("GET", path).status, 401) << path;
  EXPECT_EQ(server.ask("POST", "/v1/completions", "{}").status, 401);
  EXPECT_EQ(server.ask("GET", "/v1/models", "", {{"authorization", "Bearer wrong"}}).status, 401);
  EXPECT_EQ(server.ask("GET", "/v1/models", "", {{"authorization", "Bearer secret"}}).status, 200);
}

TEST(Routes, OtherOriginsOnlyWhereToldSo) {
  TestServer own;
  const auto status = [](TestServer& server, const std::string& host, const std::string& origin) {
    std::map<std::string, std::string> headers{{"host", host}};
    if (!origin.empty()) headers["origin"] = origin;
    return server.ask("GET", "/v1/models", "", headers).status;
  };
  EXPECT_EQ(status(own, "127.0.0.1:8080", ""), 200);
  EXPECT_EQ(status(own, "[::1]:8080", "http://[::1]:8080"), 200);
  EXPECT_EQ(status(own, "localhost:8080", "http://localhost:8080"), 200);
  EXPECT_EQ(status(own, "localhost:8080", "https://example.org"), 403);
  EXPECT_EQ(status(own, "example.org", "http://example.org"), 403);  // a name that points here
  ServeOptions options;
  options.cors = "https://example.org";
  TestServer open(options);
  EXPECT_EQ(status(open, "localhost", "https://example.org"), 200);
  EXPECT_EQ(status(open, "localhost", "https://example.com"), 403);
  const HttpResponse preflight =
      open.ask("OPTIONS", "/v1/completions", "", {{"origin", "https://example.org"}});
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.headers.find("Access-Control-Allow-Origin")->second, "https://example.org");
  EXPECT_FALSE(
      own.ask("OPTIONS", "/v1/completions").headers.contains("Access-Control-Allow-Origin"));
}

TEST(Routes, HealthMetricsModelsAndPage) {
  TestServer server;
  EXPECT_EQ(server.get("/health")["status"], "ok");
  EXPECT_EQ(server.get("/v1/models")["data"][0]["id"], "tiny");
  EXPECT_EQ(server.get("/v1/models/tiny")["context_length"], 256);
  server.post("/v1/chat/completions", question());
  server.engine.run([](Engine&) {});  // behind the step that ended the answer
  const HttpResponse metrics = server.ask("GET", "/metrics");
  EXPECT_TRUE(metrics.content_type.starts_with("text/plain; version=0.0.4"));
  for (const char* line :
       {"bitsmith_requests_finished_total{reason=\"end\"} 1\n", "# TYPE bitsmith_kv_pages gauge\n",
        "bitsmith_http_responses_total{route=\"/v1/chat/completions\",status=\"200\"} 1\n"})
    EXPECT_NE(metrics.body.find(line), std::string::npos) << line << metrics.body;
  const HttpResponse page = server.ask("GET", "/");
  EXPECT_TRUE(page.content_type.starts_with("text/html"));
  EXPECT_TRUE(page.headers.contains("Content-Security-Policy"));
  EXPECT_NE(page.body.find("<!doctype html>"), std::string::npos);
  for (const char* outside : {"http://", "https://", "src=\"", "@import", "url("})
    EXPECT_EQ(page.body.find(outside), std::string::npos) << outside;
  server.routes.drain();
  EXPECT_EQ(server.ask("GET", "/health").status, 503);
  EXPECT_EQ(server.post("/v1/completions", {{"prompt", "a"}}, 503)["error"]["code"], "stopping");
}

TEST(Routes, WhoGoesAwayIsNotServed) {
  ServeOptions options;
  options.context.context = 4000;
  TestServer server(options);
  HttpRequest request;
  request.method = "POST";
  request.path = "/v1/completions";
  request.headers = {{"content-type", "application/json"}};
  request.body = R"({"prompt": "Anna", "max_tokens": 3900, "temperature": 2})";
  request.disconnected = [] { return true; };
  const HttpResponse response = server.routes.handle(request);
  if (response.status != 200) {  // else it was quick
    EXPECT_EQ(response.status, 499);
  }
  // A stream that nobody reads anymore.
  OrderedJson body = OrderedJson::parse(request.body);
  body["stream"] = true;
  {
    HttpResponse stream = server.ask("POST", "/v1/completions", body.dump());
    std::string piece;
    EXPECT_TRUE(stream.stream->next(piece));
  }
  server.engine.run([](Engine& engine) {  // behind the cancellation
    engine.step();
    EXPECT_EQ(engine.stats().running, 0);
    EXPECT_EQ(engine.stats().kv_pages_held, 0);
  });
}

TEST(Routes, BeyondTheTimeLimit) {
  ServeOptions options;
  options.time_limit = 0;
  options.context.context = 4000;
  TestServer server(options);
  const OrderedJson body = {{"prompt", "Anna"}, {"max_tokens", 3900}, {"temperature", 2}};
  const HttpResponse response = server.ask("POST", "/v1/completions", body.dump());
  EXPECT_TRUE(response.status == 504 || response.status == 200) << response.body;
}

TEST(Routes, StoppingFailsWhatRuns) {
  ServeOptions options;
  options.context.context = 8000;
  TestServer server(options);
  OrderedJson body = {
      {"prompt", "Anna"}, {"max_tokens", 7900}, {"temperature", 2}, {"stream", true}};
  HttpResponse response = server.ask("POST", "/v1/completions", body.dump());
  std::string piece, text;
  ASSERT_TRUE(response.stream->next(piece));
  server.engine.stop();
  while (response.stream->next(piece)) text += piece;
  EXPECT_NE(text.find("the server is stopping"), std::string::npos);
  EXPECT_TRUE(text.ends_with("data: [DONE]\n\n"));
  EXPECT_EQ(server.post("/v1/completions", {{"prompt", "a"}}, 503)["error"]["code"], "stopping");
}

// Many clients at once, some of whom leave: everybody gets the text that they get alone.
TEST(Routes, ManyClients) {
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
