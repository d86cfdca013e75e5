// For tests: the routes of the tiny trained model, without sockets.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "server/routes.h"

namespace bitsmith::testing {

inline const std::filesystem::path kTrained =
    std::filesystem::path(BITSMITH_TESTDATA) / "tiny_llama_trained";

// The server without its sockets.
class TestServer {
 public:
  explicit TestServer(const ServeOptions& options = {}, std::optional<ApiKey> key = {},
                      const std::filesystem::path& path = kTrained)
      : model(path, {.threads = 2}, options.context, options.batch),
        engine(model.engine()),
        routes(model, engine, options, std::move(key), "tiny", 0) {}

  HttpResponse ask(const std::string& method, const std::string& path, const std::string& body = "",
                   std::map<std::string, std::string> headers = {}) {
    HttpRequest request;
    request.method = method;
    request.path = path;
    request.body = body;
    request.headers = std::move(headers);
    if (method == "POST") request.headers.emplace("content-type", "application/json");
    request.client = "test";
    return routes.handle(std::move(request));
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

  TextModel model;
  EngineThread engine;
  Routes routes;
};

inline OrderedJson question(int64_t max_tokens = 50) {
  return {{"messages", OrderedJson::array({{{"role", "user"}, {"content", "What is 3 plus 4?"}}})},
          {"temperature", 0},
          {"max_tokens", max_tokens}};
}

// The events of a stream, without the last: [DONE].
inline std::vector<OrderedJson> events_of(HttpResponse response) {
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

}  // namespace bitsmith::testing
