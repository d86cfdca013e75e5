#include "server/routes.h"

#include <ctime>
#include <random>

#include "server/content_security.h"
#include "server/loopback.h"
#include "server/page.h"

namespace bitsmith {
namespace {

struct Route {
  const char* method;
  const char* path;
};
constexpr Route kRoutes[] = {{"GET", "/"},
                             {"GET", "/health"},
                             {"GET", "/metrics"},
                             {"GET", "/v1/models"},
                             {"POST", "/tokenize"},
                             {"POST", "/detokenize"},
                             {"POST", "/v1/completions"},
                             {"POST", "/v1/chat/completions"}};

HttpError refusal(int status, const std::string& code, const std::string& message) {
  return {{.status = status, .code = code}, message};
}

// The name in a Host header, without its port.
std::string host_name(const std::string& host) {
  if (host.starts_with("[")) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

// For logs and metrics: a path from outside is no label.
std::string route_name(const std::string& path) {
  for (const Route& route : kRoutes)
    if (path == route.path) return path;
  return path.starts_with("/v1/models/") ? "/v1/models" : "other";
}

}  // namespace

Routes::Routes(TextModel& model, EngineThread& engine, const ServeOptions& options,
               std::optional<ApiKey> key, const std::string& model_name, uint64_t seed)
    : model_(model),
      engine_(engine),
      options_(options),
      key_(std::move(key)),
      model_name_(model_name),
      seed_(seed),
      started_(std::time(nullptr)) {
  std::random_device random;
  std::ostringstream prefix;
  prefix << std::hex << random() << random();
  id_prefix_ = prefix.str();
}

template <typename Make>
HttpResponse Routes::answered(const HttpRequest& request, const Make& make) {
  HttpResponse response;
  try {
    response = make();
  } catch (const std::exception& error) {
    response = HttpError::of(error).response();
  }
  add_cors(response);
  response.headers.emplace("X-Content-Type-Options", "nosniff");
  metrics_.count_response(route_name(request.path), response.status);
  return response;
}

std::optional<HttpResponse> Routes::refusal_by_head(const HttpRequest& head) {
  try {
    check_head(head);
    return std::nullopt;
  } catch (const HttpError& error) {
    return answered(head, [&]() -> HttpResponse { throw error; });
  }
}

HttpResponse Routes::handle(HttpRequest request) {
  return answered(request, [&] {
    check_head(request);
    return request.method == "OPTIONS" ? preflight() : route(request);
  });
}

HttpResponse Routes::http_error(int status) const {
  const char* message = status == 413   ? "the body is larger than the server's limit"
                        : status == 414 ? "the address is too long"
                        : status == 431 ? "the request's header is too long"
                        : status == 411 ? "a body needs a Content-Length"
                        : status == 408 ? "the request did not come in time"
                        : status == 415 ? "forms are not read: send JSON as application/json"
                        : status == 503 ? "there are too many requests at once: try again later"
                        : status >= 500 ? "the server failed"
                                        : "this is no HTTP request that the server understands";
  const HttpError error = status >= 500 ? HttpError::server_error(status, "", message)
                                        : HttpError({.status = status}, message);
  return error.response();
}

// Pages of other sites must not use a server that trusts this machine: browsers name the page's
// origin, and a name that was made to point here does not look like this machine's.
void Routes::check_access(const HttpRequest& request) const {
  const std::string host = request.header("host"), origin = request.header("origin");
  if (is_loopback(options_.host) && !host.empty() && !is_loopback(host_name(host)))
    throw refusal(403, "host",
                  "the server was asked for by a name that is not this machine's: it "
                  "listens on a loopback address (--host)");
  const bool own = origin == "http://" + host || origin == "https://" + host;
  if (!origin.empty() && !own && options_.cors != "*" && options_.cors != origin)
    throw refusal(403, "origin",
                  concat("pages of ", excerpt(origin),
                         " may not use this server "
                         "(--cors)"));
  const bool open = request.path == "/" || request.path == "/health" || request.method == "OPTIONS";
  if (key_ && !open && !key_->opens(request.header("authorization")))
    throw HttpError({.status = 401, .code = "invalid_api_key"},
                    "a key is needed: send it as 'Authorization: Bearer KEY'");
}

void Routes::add_cors(HttpResponse& response) const {
  if (options_.cors.empty()) return;
  response.headers.emplace("Access-Control-Allow-Origin", options_.cors);
  if (options_.cors != "*") response.headers.emplace("Vary", "Origin");
}

HttpResponse Routes::preflight() const {
  HttpResponse response;
  response.status = 204;
  response.content_type = "";
  if (options_.cors.empty()) return response;
  response.headers.emplace("Access-Control-Allow-Methods", "GET, POST");
  response.headers.emplace("Access-Control-Allow-Headers", "Authorization, Content-Type");
  response.headers.emplace("Access-Control-Max-Age", "600");
  return response;
}

void Routes::check_head(const HttpRequest& request) const {
  check_access(request);
  if (request.method == "OPTIONS") return;
  const std::string& path = request.path;
  std::string allowed;
  for (const Route& route : kRoutes)
    if (path == route.path) allowed = route.method;
  if (path.starts_with("/v1/models/")) allowed = "GET";
  if (allowed.empty())
    throw refusal(404, "unknown_url", concat("there is nothing at ", excerpt(path)));
  if (request.method != allowed && !(allowed == "GET" && request.method == "HEAD"))
    throw refusal(405, "method_not_allowed", concat(excerpt(path), " is asked by ", allowed));
  if (allowed == "POST") {
    // Browsers send this type to other origins only after they have asked.
    const std::string type = request.header("content-type");
    if (type.substr(0, type.find(';')) != "application/json")
      throw refusal(415, "content_type",
                    "the body must be JSON, with 'Content-Type: application/json'");
    if (draining_) throw HttpError::server_error(503, "stopping", "the server is stopping");
  }
}

HttpResponse Routes::route(HttpRequest& request) {
  const std::string& path = request.path;
  if (path == "/") {
    HttpResponse response;
    response.content_type = "text/html; charset=utf-8";
    static const std::string policy = content_security_policy(page_html());
    response.headers.emplace("Content-Security-Policy", policy);
    response.headers.emplace("Cache-Control", "no-cache");
    response.body = page_html();
    return response;
  }
  if (path == "/health") return health();
  if (path == "/metrics") {
    HttpResponse response;
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = metrics_.text(engine_.stats());
    return response;
  }
  if (path == "/tokenize") return tokenize(request);
  if (path == "/detokenize") return detokenize(request);
  if (path == "/v1/completions") return text_completions(request);
  if (path == "/v1/chat/completions") return chat_completions(request);
  return models(path);
}

HttpResponse Routes::health() const {
  HttpResponse response = json_response({{"status", draining_ ? "stopping" : "ok"}});
  if (draining_) response.status = 503;
  return response;
}

HttpResponse Routes::models(const std::string& path) const {
  const OrderedJson model = {{"id", model_name_},
                             {"object", "model"},
                             {"created", started_},
                             {"owned_by", "bitsmith"},
                             {"context_length", model_.context()}};
  if (path == "/v1/models")
    return json_response({{"object", "list"}, {"data", OrderedJson::array({model})}});
  check_model(path.substr(std::string("/v1/models/").size()));
  return json_response(model);
}

void Routes::check_model(const std::string& name) const {
  if (name.empty() || name == model_name_) return;
  throw HttpError({.status = 404, .param = "model", .code = "model_not_found"},
                  concat("there is no model '", excerpt(name), "' here, but '", model_name_, "'"));
}

HttpResponse Routes::tokenize(const HttpRequest& request) const {
  const OrderedJson json = read_body(request.body);
  JsonFields fields(json, "");
  const auto text = fields.string("text");
  if (!text) throw HttpError::invalid_field("text", "is missing");
  const bool add_special = fields.boolean("add_special").value_or(true);
  const bool parse_special = fields.boolean("parse_special").value_or(true);
  fields.finish();
  const auto ids = model_.tokenizer().encode(*text, add_special, parse_special, new_deadline());
  return json_response({{"tokens", ids}, {"count", ids.size()}});
}

HttpResponse Routes::detokenize(const HttpRequest& request) const {
  const OrderedJson json = read_body(request.body);
  JsonFields fields(json, "");
  const OrderedJson* tokens = fields.array("tokens");
  if (!tokens) throw HttpError::invalid_field("tokens", "is missing");
  const bool skip_special = fields.boolean("skip_special").value_or(false);
  fields.finish();
  const std::vector<int32_t> ids = read_ids(*tokens, "tokens");
  for (const int32_t id : ids) {
    if (id >= model_.tokenizer().vocab_size())
      throw HttpError::invalid_field("tokens",
                                     concat("has the id ", id, ", but the vocabulary has ",
                                            model_.tokenizer().vocab_size(), " entries"));
  }
  return json_response({{"text", model_.tokenizer().decode(ids, skip_special)}});
}

}  // namespace bitsmith
