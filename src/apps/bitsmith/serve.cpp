// bitsmith serve MODEL: an HTTP server with the routes of OpenAI's API, and a page to chat.
#include "server/serve.h"

#include <memory>

#include "apps/bitsmith/commands.h"
#include "apps/cli_options.h"
#include "apps/command.h"
#include "base/log.h"

namespace bitsmith {
namespace {

struct ServeCommand {
  CommonOptions common;
  ServeOptions options;
  std::string model;

  void run() const {
    serve(model, options, run_context(common), [&](int port) {
      const bool ipv6 = options.host.find(':') != std::string::npos;
      const std::string url =
          concat("http://", ipv6 ? "[" + options.host + "]" : options.host, ":", port);
      print_result(common, {{"url", url}, {"port", port}}, concat("listening on ", url));
    });
  }
};

}  // namespace

void add_serve(CLI::App& app) {
  const auto serve = std::make_shared<ServeCommand>();
  CLI::App* command =
      app.add_subcommand("serve", "Serves a model over HTTP: OpenAI's API, and a page to chat");
  add_common_options(*command, serve->common);
  command->add_option("MODEL", serve->model, "Model directory, GGUF file or packed model")
      ->required();
  add_options(*command, serve->options);
  command->callback([serve] { serve->run(); });
}

}  // namespace bitsmith
