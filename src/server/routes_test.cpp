#include "server/routes.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "architecture/test_models.h"
#include "server/test_server.h"

namespace bitsmith {
namespace {

using testing::kTrained, testing::question, testing::TestServer;

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
  for (const std::string name : {"example.org", "127.example.org", "localhost.example.org"})
    EXPECT_EQ(status(own, name, "http://" + name), 403);  // a name that points here
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
  request.body = R"({"prompt": "Anna", "max_tokens": 3900, "ignore_eos": true})";
  request.disconnected = [] { return true; };
  const std::string text = request.body;
  const HttpResponse response = server.routes.handle(std::move(request));
  if (response.status != 200) {  // else it was quick
    EXPECT_EQ(response.status, 499);
  }
  // A stream that nobody reads anymore.
  OrderedJson body = OrderedJson::parse(text);
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
  // The making of tokens is a part of the request's time.
  EXPECT_EQ(server.post("/tokenize", {{"text", "Anna"}}, 504)["error"]["code"], "timeout");
  EXPECT_EQ(server.post("/v1/completions", {{"prompt", "Anna"}}, 504)["error"]["code"], "timeout");
  EXPECT_EQ(server.post("/v1/chat/completions", question(), 504)["error"]["code"], "timeout");
  const OrderedJson ids = {{"prompt", {3, 4}}, {"max_tokens", 3900}, {"ignore_eos", true}};
  server.post("/v1/completions", ids, 504);
}

TEST(Routes, WhatIsRefusedByItsHead) {
  TestServer server({}, ApiKey("secret"));
  const auto status = [&](const std::string& path, const std::string& key,
                          const std::string& type = "application/json") {
    HttpRequest head;
    head.method = "POST";
    head.path = path;
    head.headers = {{"authorization", "Bearer " + key}, {"content-type", type}};
    const auto refusal = server.routes.refusal_by_head(head);
    return refusal ? refusal->status : 0;
  };
  EXPECT_EQ(status("/v1/completions", "secret"), 0);
  EXPECT_EQ(status("/v1/completions", "wrong"), 401);
  EXPECT_EQ(status("/none", "secret"), 404);
  EXPECT_EQ(status("/health", "secret"), 405);
  EXPECT_EQ(status("/tokenize", "secret", "text/plain"), 415);
  server.routes.drain();
  EXPECT_EQ(status("/tokenize", "secret"), 503);
  EXPECT_NE(server.ask("GET", "/metrics", "", {{"authorization", "Bearer secret"}})
                .body.find("route=\"/v1/completions\",status=\"401\"} 1\n"),
            std::string::npos);
}

TEST(Routes, StoppingFailsWhatRuns) {
  ServeOptions options;
  options.context.context = 8000;
  TestServer server(options);
  OrderedJson body = {
      {"prompt", "Anna"}, {"max_tokens", 7900}, {"ignore_eos", true}, {"stream", true}};
  HttpResponse response = server.ask("POST", "/v1/completions", body.dump());
  std::string piece, text;
  ASSERT_TRUE(response.stream->next(piece));
  server.engine.stop();
  while (response.stream->next(piece)) text += piece;
  EXPECT_NE(text.find("the server is stopping"), std::string::npos);
  EXPECT_TRUE(text.ends_with("data: [DONE]\n\n"));
  EXPECT_EQ(server.post("/v1/completions", {{"prompt", "a"}}, 503)["error"]["code"], "stopping");
}

}  // namespace
}  // namespace bitsmith
