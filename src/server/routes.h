// What the server answers, without a socket: request in, response or stream out.
#pragma once
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "runtime/text_model.h"
#include "server/api_key.h"
#include "server/completion.h"
#include "server/engine_thread.h"
#include "server/http.h"
#include "server/metrics.h"
#include "server/serve_options.h"

namespace bitsmith {

class Routes {
 public:
  // The model and the engine's thread outlive this and every stream that it gave out. `seed`: of
  // requests that give none.
  Routes(TextModel& model, EngineThread& engine, const ServeOptions& options,
         std::optional<ApiKey> key, const std::string& model_name, uint64_t seed);

  // From any thread; never throws but for memory. Waits for the answer unless it is streamed.
  HttpResponse handle(const HttpRequest& request);
  // From now on completions are refused with 503, and /health says so.
  void drain() { draining_ = true; }
  // An error of the HTTP layer itself, as an object of the API.
  HttpResponse http_error(int status) const;

 private:
  HttpResponse route(const HttpRequest& request);
  // Who may use the server: origin, host name, key.
  void check_access(const HttpRequest& request) const;
  void add_cors(HttpResponse& response) const;
  HttpResponse preflight() const;
  HttpResponse health() const;
  HttpResponse models(const std::string& path) const;
  HttpResponse tokenize(const HttpRequest& request) const;
  HttpResponse detokenize(const HttpRequest& request) const;
  HttpResponse chat_completions(const HttpRequest& request);
  HttpResponse text_completions(const HttpRequest& request);

  void check_model(const std::string& name) const;
  // What the engine is asked for, but for callbacks. Throws HttpError beyond the limits.
  Request engine_request(const CompletionOptions& options, std::vector<int32_t> prompt,
                         int64_t default_tokens, const HttpRequest& http);
  HttpResponse complete(const HttpRequest& http, const CompletionOptions& options, bool chat,
                        std::vector<CompletionPrompt> prompts);

  TextModel& model_;
  EngineThread& engine_;
  ServeOptions options_;
  std::optional<ApiKey> key_;
  std::string model_name_;
  uint64_t seed_;
  int64_t started_;  // seconds since 1970
  std::string id_prefix_;
  Metrics metrics_;
  std::atomic<bool> draining_ = false;
  std::atomic<uint64_t> next_stream_ = 0, next_id_ = 0;
};

}  // namespace bitsmith
