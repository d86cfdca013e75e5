// What the server answers, without a socket: request in, response or stream out.
#pragma once
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/text_model.h"
#include "server/api_key.h"
#include "server/completion.h"
#include "server/engine_thread.h"
#include "server/http.h"
#include "server/metrics.h"
#include "server/serve_options.h"

namespace bitsmith {

class Routes : public HttpHandler {
 public:
  // The model and the engine's thread outlive this and every stream that it gave out. `seed`: of
  // requests that give none.
  Routes(TextModel& model, EngineThread& engine, const ServeOptions& options,
         std::optional<ApiKey> key, const std::string& model_name, uint64_t seed);

  std::optional<HttpResponse> refusal_by_head(const HttpRequest& head) override;
  HttpResponse handle(HttpRequest request) override;
  HttpResponse http_error(int status) const override;
  // From now on completions are refused with 503, and /health says so.
  void drain() { draining_ = true; }

 private:
  // What `make` makes, or the error object of what it throws, with what all responses have.
  template <typename Make>
  HttpResponse answered(const HttpRequest& request, const Make& make);
  HttpResponse route(HttpRequest& request);
  // All that a head can be refused for.
  void check_head(const HttpRequest& head) const;
  // Who may use the server: origin, host name, key.
  void check_access(const HttpRequest& request) const;
  Deadline new_deadline() const { return Deadline(std::chrono::seconds(options_.time_limit)); }
  void add_cors(HttpResponse& response) const;
  HttpResponse preflight() const;
  HttpResponse health() const;
  HttpResponse models(const std::string& path) const;
  HttpResponse tokenize(const HttpRequest& request) const;
  HttpResponse detokenize(const HttpRequest& request) const;
  // These drop the body as soon as they have read it.
  HttpResponse chat_completions(HttpRequest& request);
  HttpResponse text_completions(HttpRequest& request);

  void check_model(const std::string& name) const;
  // What the engine is asked for, but for callbacks. Throws HttpError beyond the limits.
  Request engine_request(const CompletionOptions& options, std::vector<int32_t> prompt,
                         int64_t default_tokens, const HttpRequest& http);
  CompletionPrompt chat_prompt(const ChatCompletionRequest& request, const HttpRequest& http,
                               const Deadline& deadline);
  std::vector<CompletionPrompt> text_prompts(TextCompletionRequest request, const HttpRequest& http,
                                             const Deadline& deadline);
  HttpResponse complete(const HttpRequest& http, const CompletionOptions& options, bool chat,
                        std::vector<CompletionPrompt> prompts, const Deadline& deadline);

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
