#include "server/http_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/log.h"
#include "server/connection.h"
#include "server/lingering_closer.h"

namespace bitsmith {
namespace {

constexpr int64_t kMostHeaderBytes = 64 << 10;  // with the request line
constexpr size_t kMostPathBytes = 1024;
constexpr std::chrono::seconds kKeepAlive(30), kLastWords(5);
constexpr std::chrono::milliseconds kLook(1);
// Connections that are over for the server.
constexpr size_t kMostLingering = 64;
constexpr std::chrono::seconds kLingering(2);

// Of this thread, while it answers.
thread_local Connection* current = nullptr;
// The connection is one too many.
thread_local bool refusing = false;

// A thread for each connection, up to a limit; the one above it is told so at once.
class ConnectionThreads : public httplib::TaskQueue {
 public:
  explicit ConnectionThreads(int64_t most) : most_(most) {}

  void enqueue(std::function<void()> serve) override {
    {
      const std::lock_guard lock(state_->mutex);
      refusing = state_->running >= most_;
      if (!refusing) ++state_->running;
    }
    if (refusing) return serve();
    try {
      std::thread([state = state_, serve] {
        serve();
        state->end_one();
      }).detach();
    } catch (const std::system_error&) {  // the system has no more threads
      state_->end_one();
      refusing = true;
      serve();
    }
  }
  void shutdown() override {
    std::unique_lock lock(state_->mutex);
    state_->ended.wait(lock, [this] { return state_->running == 0; });
  }

 private:
  struct State {
    void end_one() {
      const std::lock_guard lock(mutex);
      --running;
      ended.notify_all();
    }
    std::mutex mutex;
    std::condition_variable ended;
    int64_t running = 0;
  };
  int64_t most_;
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

// Where the body ends is said twice: a proxy in front may find another end than the library, and
// see another request behind it (RFC 9112, section 6.3).
bool has_unclear_end(const httplib::Request& request) {
  const size_t lengths = request.get_header_value_count("Content-Length"),
               encodings = request.get_header_value_count("Transfer-Encoding");
  return lengths + encodings > 1;
}

bool has_body(const httplib::Request& request) {
  return request.has_header("Content-Length") || request.has_header("Transfer-Encoding");
}

HttpRequest plain_request(const httplib::Request& from) {
  HttpRequest request;
  request.method = from.method;
  request.path = from.path;
  request.client = from.remote_addr;
  for (const auto& [name, value] : from.headers) {
    std::string lower = name;
    std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
    request.headers.emplace(lower, value);  // the first of several
  }
  current->may_ask = from.version == "HTTP/1.1";
  request.disconnected = [connection = current] { return connection->disconnected(); };
  return request;
}

void fill(HttpResponse from, httplib::Response& to) {
  current->may_ask = false;
  to.status = from.status;
  if (current->must_close) to.set_header("Connection", "close");
  for (const auto& [name, value] : from.headers) to.set_header(name, value);
  if (!from.stream) {
    if (from.status != 204) to.set_content(from.body, from.content_type);
    return;
  }
  const std::shared_ptr<BodyStream> stream = std::move(from.stream);
  to.set_chunked_content_provider(from.content_type, [stream](size_t, httplib::DataSink& sink) {
    std::string piece;
    if (stream->next(piece)) return sink.write(piece.data(), piece.size());
    sink.done();
    return true;
  });
}

}  // namespace

class HttpServer::Server : public httplib::Server {
 public:
  Server(HttpHandler& handler, const HttpLimits& limits)
      : handler_(handler),
        limits_(limits),
        bodies_(limits.body_total),
        closer_(kMostLingering, kLingering) {
    new_task_queue = [most = limits.connections] { return new ConnectionThreads(most); };
    set_payload_max_length(static_cast<size_t>(limits.body_bytes));
    set_tcp_nodelay(true);
    set_keep_alive_timeout(kKeepAlive.count());
    set_socket_options([](socket_t socket) {
      const int yes = 1;  // not SO_REUSEPORT: another server on the port is an error
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    // Before the library asks for the rest of a request whose client waits to be asked.
    set_expect_100_continue_handler(
        [this](const httplib::Request& request, httplib::Response& response) {
          return refused(request, response) ? response.status : 100;
        });
    // All but what has a body is answered here; the library's own routing uses regular expressions.
    set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      if (refused(request, response)) return HandlerResponse::Handled;
      if (request.method == "POST") return HandlerResponse::Unhandled;
      answer(request, response);
      return HandlerResponse::Handled;
    });
    Post(".*", [this](const httplib::Request& request, httplib::Response& response,
                      const httplib::ContentReader& read) { post(request, response, read); });
    set_error_handler([this](const httplib::Request&, httplib::Response& response) {
      if (!response.body.empty() || response.content_provider_ || response.status < 400) return;
      // The library knows only that it could not read the request.
      const bool unread = response.status == 400 && current;
      refuse(unread && current->timed_out()         ? 408
             : unread && current->header_too_long() ? 431
                                                    : response.status,
             response);
    });
    set_exception_handler([this](const httplib::Request&, httplib::Response& response,
                                 std::exception_ptr) { refuse(500, response); });
  }
  ~Server() override { finish(); }

  int open(const std::string& host, int port) {
    errno = 0;
    const int bound = port == 0 ? bind_to_any_port(host) : bind_to_port(host, port) ? port : -1;
    if (bound <= 0)
      throw Error(concat("cannot listen on ", host, ":", port, ": ",
                         errno != 0 ? std::strerror(errno) : "no such address",
                         "; choose another --host or --port"));
    return bound;
  }
  void begin() {
    thread_ = std::thread([this] {
      listen_after_bind();
      ended_ = true;
    });
    while (!is_running() && !ended_) std::this_thread::sleep_for(kLook);
  }
  void finish() {
    stopping_ = true;
    // Once it is told to stop, the library cuts streams off.
    const auto deadline = Connection::Clock::now() + kLastWords;
    while (answering_ > 0 && Connection::Clock::now() < deadline)
      std::this_thread::sleep_for(kLook);
    stop();
    if (thread_.joinable()) thread_.join();  // which waits for the connections
  }

 private:
  ConnectionLimits limits() const {
    return {.header_bytes = kMostHeaderBytes,
            .request_bytes = limits_.body_bytes + kMostHeaderBytes,
            .read_time = std::chrono::seconds(limits_.read_seconds)};
  }
  void refuse(int status, httplib::Response& response) {
    current->must_close = true;
    fill(handler_.http_error(status), response);
  }
  // What is refused before its body is read.
  bool refused(const httplib::Request& request, httplib::Response& response) {
    const bool post = request.method == "POST";
    if (request.path.size() > kMostPathBytes)
      refuse(414, response);
    else if (has_unclear_end(request))
      refuse(400, response);
    else if (request.is_multipart_form_data())
      refuse(415, response);
    else if (post && !has_body(request))
      refuse(411, response);
    else if (auto refusal =
                 post ? handler_.refusal_by_head(plain_request(request)) : std::nullopt) {
      current->must_close = true;
      fill(std::move(*refusal), response);
    } else {
      return false;
    }
    return true;
  }

  void answer(const httplib::Request& request, httplib::Response& response) {
    current->must_close = has_body(request);  // which nobody reads
    fill(handler_.handle(plain_request(request)), response);
  }

  void post(const httplib::Request& request, httplib::Response& response,
            const httplib::ContentReader& read) {
    HttpRequest plain = plain_request(request);
    plain.memory = MemoryShare(bodies_);
    int status = 0;  // that it is refused with
    const bool complete = read([&](const char* data, size_t size) {
      const auto bytes = static_cast<int64_t>(size);
      if (std::ssize(plain.body) + bytes > limits_.body_bytes)  // unpacked
        status = 413;
      else if (!plain.memory.grow(bytes))
        status = 503;
      else
        plain.body.append(data, size);
      return status == 0;
    });
    if (complete) return fill(handler_.handle(std::move(plain)), response);
    plain.drop_body();
    if (status == 0) status = response.status == 413 ? 413 : current->timed_out() ? 408 : 400;
    refuse(status, response);
  }

  bool process_and_close_socket(socket_t socket) override {
    if (refusing) {
      refuse_connection(socket);
      closer_.close(socket);
      return true;
    }
    Connection connection(socket, limits(), stopping_);
    current = &connection;
    while (connection.wait_for_request(kKeepAlive) && serve_request(connection)) {
    }
    current = nullptr;
    if (connection.must_close) {  // the client may still be sending
      closer_.close(socket);
    } else {
      ::shutdown(socket, SHUT_RDWR);
      ::close(socket);
    }
    return true;
  }

  // Whether the connection may bring another request.
  bool serve_request(Connection& connection) {
    bool closed = false, answered = false;
    ++answering_;
    try {
      answered = process_request(connection, /*close_connection=*/false, closed, nullptr);
    } catch (const std::exception& error) {  // memory ran out while the answer was written
      log_warning(concat("a connection was cut: ", error_message(error)));
    }
    --answering_;
    return answered && !closed && !connection.must_close;
  }

  // In the thread that accepts connections: it does not wait.
  void refuse_connection(socket_t socket) {
    const HttpResponse page = handler_.http_error(503);
    std::string text =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: "
        "close\r\n";
    for (const auto& [name, value] : page.headers) text += concat(name, ": ", value, "\r\n");
    text += concat("Content-Length: ", page.body.size(), "\r\n\r\n", page.body);
    ::send(socket, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  HttpHandler& handler_;
  const HttpLimits limits_;
  MemoryBudget bodies_;
  LingeringCloser closer_;
  std::atomic<bool> stopping_ = false, ended_ = false;
  std::atomic<int64_t> answering_ = 0;
  std::thread thread_;
};

HttpServer::HttpServer(HttpHandler& handler, const HttpLimits& limits)
    : server_(std::make_unique<Server>(handler, limits)) {}
HttpServer::~HttpServer() = default;

int HttpServer::bind(const std::string& host, int port) { return server_->open(host, port); }
void HttpServer::start() { server_->begin(); }
void HttpServer::stop() { server_->finish(); }

}  // namespace bitsmith
