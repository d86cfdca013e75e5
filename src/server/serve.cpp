#include "server/serve.h"

#include <chrono>
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

}  // namespace

void serve(const std::filesystem::path& model, const ServeOptions& options, const RunContext& run,
           const std::function<void(int)>& on_listening) {
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
  HttpServer http([&](const HttpRequest& request) { return routes.handle(request); },
                  [&](int status) { return routes.http_error(status); },
                  {.body_bytes = options.max_body.bytes,
                   .connections = options.max_connections,
                   .read_seconds = options.read_timeout});
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
  engine.stop();
  http.stop();
}

}  // namespace bitsmith
