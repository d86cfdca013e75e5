// HTTP on a socket, by cpp-httplib, which nobody sees but http_server.cpp.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "server/http.h"

namespace bitsmith {

struct HttpLimits {
  int64_t body_bytes;    // also of a body that comes compressed
  int64_t body_total;    // of all bodies at once, until their handlers drop them
  int64_t connections;   // more are told to come later
  int64_t read_seconds;  // that a request may take to come, from its first byte on
};

class HttpServer {
 public:
  // The handler outlives this.
  HttpServer(HttpHandler& handler, const HttpLimits& limits);
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
