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

namespace bitsmith {
namespace {

constexpr int64_t kMostHeaderBytes = 64 << 10;  // with the request line
constexpr size_t kMostPathBytes = 1024;
constexpr std::chrono::seconds kKeepAlive(30), kLastWords(5);
constexpr std::chrono::milliseconds kLook(1);

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
  request.disconnected = [connection = current] { return connection->disconnected(); };
  return request;
}

void fill(HttpResponse from, httplib::Response& to) {
  to.status = from.status;
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
  Server(HttpServer::Handler handler, ErrorPage error_page, const HttpLimits& limits)
      : handler_(std::move(handler)), error_page_(std::move(error_page)), limits_(limits) {
    new_task_queue = [most = limits.connections] { return new ConnectionThreads(most); };
    set_payload_max_length(limits.body_bytes);
    set_tcp_nodelay(true);
    set_keep_alive_timeout(kKeepAlive.count());
    set_socket_options([](socket_t socket) {
      const int yes = 1;  // not SO_REUSEPORT: another server on the port is an error
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    // All but what has a body is answered here; the library's own routing uses regular expressions.
    set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      if (request.path.size() > kMostPathBytes)
        refuse(414, response);
      else if (has_unclear_end(request))
        refuse(400, response);
      else if (request.is_multipart_form_data())
        refuse(415, response);
      else if (request.method != "POST")
        answer(request, response);
      else if (!has_body(request))
        refuse(411, response);
      else
        return HandlerResponse::Unhandled;
      return HandlerResponse::Handled;
    });
    Post(".*", [this](const httplib::Request& request, httplib::Response& response,
                      const httplib::ContentReader& read) { post(request, response, read); });
    set_error_handler([this](const httplib::Request&, httplib::Response& response) {
      if (response.body.empty() && !response.content_provider_ && response.status >= 400)
        refuse(response.status, response);
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
            .request_bytes = static_cast<int64_t>(limits_.body_bytes) + kMostHeaderBytes,
            .read_time = std::chrono::seconds(limits_.read_seconds)};
  }
  void refuse(int status, httplib::Response& response) {
    if (current) current->must_close = true;
    fill(error_page_(status), response);
  }

  void answer(const httplib::Request& request, httplib::Response& response) {
    current->must_close = has_body(request);  // which nobody reads
    fill(handler_(plain_request(request)), response);
  }

  void post(const httplib::Request& request, httplib::Response& response,
            const httplib::ContentReader& read) {
    HttpRequest plain = plain_request(request);
    bool too_large = false;
    const bool complete = read([&](const char* data, size_t size) {
      too_large = plain.body.size() + size > limits_.body_bytes;  // unpacked
      if (!too_large) plain.body.append(data, size);
      return !too_large;
    });
    if (complete) return fill(handler_(plain), response);
    const bool too_long = too_large || response.status == 413;
    refuse(too_long ? 413 : current->timed_out() ? 408 : 400, response);
  }

  bool process_and_close_socket(socket_t socket) override {
    if (refusing) {
      refuse_connection(socket);
    } else {
      Connection connection(socket, limits(), stopping_);
      current = &connection;
      while (connection.wait_for_request(kKeepAlive) && serve_request(connection)) {
      }
      current = nullptr;
    }
    ::shutdown(socket, SHUT_RDWR);
    ::close(socket);
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

  void refuse_connection(socket_t socket) {
    const HttpResponse page = error_page_(503);
    const std::string text = concat(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: "
        "close\r\n"
        "Retry-After: 5\r\nContent-Length: ",
        page.body.size(), "\r\n\r\n", page.body);
    Connection connection(socket, limits(), stopping_);
    // What was sent is read, or closing would take the answer back.
    char ignored[4096];
    if (connection.wait_for_request(std::chrono::seconds(1)))
      ::recv(socket, ignored, sizeof(ignored), MSG_DONTWAIT);
    connection.write(text.data(), text.size());
  }

  HttpServer::Handler handler_;
  ErrorPage error_page_;
  HttpLimits limits_;
  std::atomic<bool> stopping_ = false, ended_ = false;
  std::atomic<int64_t> answering_ = 0;
  std::thread thread_;
};

HttpServer::HttpServer(Handler handler, ErrorPage error_page, const HttpLimits& limits)
    : server_(std::make_unique<Server>(std::move(handler), std::move(error_page), limits)) {}
HttpServer::~HttpServer() = default;

int HttpServer::bind(const std::string& host, int port) { return server_->open(host, port); }
void HttpServer::start() { server_->begin(); }
void HttpServer::stop() { server_->finish(); }

}  // namespace bitsmith
