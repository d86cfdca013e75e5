// HTTP on a socket, by cpp-httplib, which nobody sees but http_server.cpp.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "server/http.h"

namespace bitsmith {

struct HttpLimits {
  uint64_t body_bytes;   // also of a body that comes compressed
  int64_t connections;   // more are told to come later
  int64_t read_seconds;  // that a request may take to come, from its first byte on
};

class HttpServer {
 public:
  using Handler = std::function<HttpResponse(const HttpRequest&)>;
  // What is said where no handler was asked: 400, 408, 411, 413, 414, 415, 500, 503.
  using ErrorPage = std::function<HttpResponse(int status)>;

  // The handler is called from a thread for each connection. It does not throw.
  HttpServer(Handler handler, ErrorPage error_page, const HttpLimits& limits);
  ~HttpServer();  // stop()
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Port 0 is any that is free. Returns the port; throws Error with the system's reason.
  int bind(const std::string& host, int port);
  // Answers connections from now on. After bind().
  void start();
  // No new connections and requests; waits until those that run have been answered.
  void stop();

 private:
  class Server;
  std::unique_ptr<Server> server_;
};

}  // namespace bitsmith
