#include "server/serve.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <thread>

#include "base/log.h"
#include "server/http_server.h"
#include "server/loopback.h"
#include "server/routes.h"

namespace bitsmith {
namespace {

using namespace std::chrono_literals;
constexpr auto kLook = 50ms;

std::string default_name(const std::filesystem::path& model) {
  const auto path = std::filesystem::absolute(model).lexically_normal();
  const auto last = path.has_filename() ? path : path.parent_path();
  const bool file = last.extension() == ".gguf" || last.extension() == ".packed";
  return file ? last.stem().string() : last.filename().string();
}

HttpLimits http_limits(const ServeOptions& options) {
  constexpr auto kMost = static_cast<uint64_t>(INT64_MAX);
  const auto body = static_cast<int64_t>(std::min(options.max_body.bytes, kMost / 2));
  const auto total = static_cast<int64_t>(std::min(options.body_memory.bytes, kMost)) /
                     ServeOptions::kMemoryOfBodyByte;
  if (body > total)
    throw UsageError(concat("--body-memory ", option_text(options.body_memory),
                            " is too little for a body of --max-body ",
                            option_text(options.max_body), ": it must be ",
                            ServeOptions::kMemoryOfBodyByte, " times as much"));
  return {.body_bytes = body,
          .body_total = total,
          .connections = options.max_connections,
          .read_seconds = options.read_timeout};
}

// At the end, also where something throws: the engine stops first, so that no connection waits for
// an answer.
struct Stop {
  EngineThread& engine;
  HttpServer& http;
  ~Stop() {
    engine.stop();
    http.stop();
  }
};

}  // namespace

void serve(const std::filesystem::path& model, const ServeOptions& options, const RunContext& run,
           const std::function<void(int)>& on_listening) {
  const HttpLimits limits = http_limits(options);
  const std::optional<ApiKey> key = ApiKey::find(options.api_key_file);
  if (!key && !is_loopback(options.host))
    log_warning(concat("everybody who reaches ", options.host,
                       " can use this server: give a key (--api-key-file)"));
  TextModel loaded(model, run, options.context, options.batch);
  const EngineOptions& engine_options = loaded.engine().options();
  log_info(concat("context ", engine_options.context, " tokens; keys and values of ",
                  engine_options.kv_pages * KvPool::kPage, " tokens (",
                  kv_type_name(engine_options.kv_type), "); ", engine_options.max_batch,
                  " requests side by side"));
  EngineThread engine(loaded.engine());
  Routes routes(loaded, engine, options, key,
                options.model_name.empty() ? default_name(model) : options.model_name, run.seed);
  HttpServer http(routes, limits);
  const Stop stop{engine, http};
  const int port = http.bind(options.host, static_cast<int>(options.port));
  http.start();
  on_listening(port);

  while (!run.cancelled()) std::this_thread::sleep_for(kLook);
  routes.drain();
  log_info("stopping; once more to stop at once");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(options.grace);
  const auto busy = [&] {
    const EngineStats stats = engine.stats();
    return stats.running + stats.waiting > 0;
  };
  while (busy() && std::chrono::steady_clock::now() < deadline) std::this_thread::sleep_for(kLook);
}

}  // namespace bitsmith
