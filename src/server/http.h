// HTTP without a socket: what a route is given and what it answers. http_server.h connects both to
// the network.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/json.h"

namespace bitsmith {

struct HttpRequest {
  std::string method;                          // "GET"
  std::string path;                            // "/v1/models", without the query
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  std::string client;  // the peer's address
  // Whether the peer has gone. Callable from the thread that handles the request.
  std::function<bool()> disconnected = [] { return false; };

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
  HttpResponse response() const;

  // 400 for a field of the body.
  static HttpError invalid_field(const std::string& param, const std::string& message) {
    return {{.param = param}, concat("'", param, "' ", message)};
  }

 private:
  Details details_;
};

// JSON as text, in one line; bytes that are not UTF-8 become U+FFFD.
std::string json_text(const OrderedJson& json);

}  // namespace bitsmith
