// HTTP without a socket: what a route is given and what it answers. http_server.h connects both to
// the network.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "server/memory_budget.h"

namespace bitsmith {

struct HttpRequest {
  std::string method;                          // "GET"
  std::string path;                            // "/v1/models", without the query
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  MemoryShare memory;  // that the body takes
  std::string client;  // the peer's address
  // Whether the peer has gone. Callable from the thread that handles the request.
  std::function<bool()> disconnected = [] { return false; };

  // Nothing of it is needed any more.
  void drop_body() {
    body = {};
    memory.release();
  }

  // Empty where it is missing. `name` in lower case.
  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

// A body that comes in pieces. Destroyed when nobody reads it anymore.
class BodyStream {
 public:
  virtual ~BodyStream() = default;
  // Waits for the next piece; false: there is none, and `piece` is empty.
  virtual bool next(std::string& piece) = 0;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::multimap<std::string, std::string> headers = {};
  std::string body = {};
  std::unique_ptr<BodyStream> stream = nullptr;  // instead of the body
};

// What answers requests. Called from a thread for each connection; throws nothing but for want of
// memory.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // The answer to a request that is refused by its head: its body is not read. Nothing: handle() is
  // asked.
  virtual std::optional<HttpResponse> refusal_by_head(const HttpRequest& head) = 0;
  // Waits for the answer unless it is a stream.
  virtual HttpResponse handle(HttpRequest request) = 0;
  // What is said where neither was asked: 400, 408, 411, 413, 414, 415, 431, 500, 503.
  virtual HttpResponse http_error(int status) const = 0;
};

// A request that is refused, or that failed; the error object of OpenAI's API.
class HttpError : public Error {
 public:
  struct Details {
    int status = 400;
    std::string type = "invalid_request_error";
    std::string param = {};  // the field at fault; empty: null
    std::string code = {};   // empty: null
  };
  HttpError(Details details, const std::string& message)
      : Error(message), details_(std::move(details)) {}
  const Details& details() const { return details_; }
  // {"error": {"message", "type", "param", "code"}}.
  OrderedJson json() const;
  HttpResponse response() const;  // 401 with WWW-Authenticate, 503 with Retry-After

  // Of any exception: one of these is kept, a deadline is 504, all others are 500.
  static HttpError of(const std::exception& error);

  // 400 for a field of the body.
  static HttpError invalid_field(const std::string& param, const std::string& message) {
    return {{.param = param}, concat("'", param, "' ", message)};
  }
  // The request is not at fault. `code` may be empty.
  static HttpError server_error(int status, const std::string& code, const std::string& message) {
    return {{.status = status, .type = "server_error", .code = code}, message};
  }

 private:
  Details details_;
};

// JSON as text, in one line; bytes that are not UTF-8 become U+FFFD.
std::string json_text(const OrderedJson& json);
HttpResponse json_response(const OrderedJson& json);  // 200

}  // namespace bitsmith
