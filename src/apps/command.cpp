#include "apps/command.h"

#include <cstdio>

#include "base/log.h"
#include "base/thread_pool.h"

namespace bitsmith {

void add_common_options(CLI::App& command, CommonOptions& options) {
  command
      .add_option("--threads", options.threads,
                  "Worker threads (default: every core this process may use)")
      ->check(CLI::Range(1, 1024));
  command.add_option("--seed", options.seed, "Seed of everything random")->capture_default_str();
  command.add_flag("--quiet", options.quiet, "Only warnings and the result");
  command.add_flag("--json", options.json, "Print the result as one JSON object");
  command.parse_complete_callback([&options] { set_quiet(options.quiet); });
}

int resolved_threads(const CommonOptions& options) {
  return options.threads > 0 ? options.threads : default_threads();
}

void print_result(const CommonOptions& options, const OrderedJson& json, const std::string& text) {
  // Names in a file may be any bytes.
  const std::string out =
      options.json ? json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) : text;
  std::fputs(out.c_str(), stdout);
  if (out.empty() || out.back() != '\n') std::fputc('\n', stdout);
  std::fflush(stdout);
}

}  // namespace bitsmith
