#include "apps/command.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/thread_pool.h"

namespace bitsmith {

void add_common_options(CLI::App& command, CommonOptions& options) {
  command
      .add_option("--threads", options.threads,
                  "Worker threads (default: as many as can run at once, at most OMP_NUM_THREADS)")
      ->check(CLI::Range(1, 1024));
  command.add_option("--seed", options.seed, "Seed of everything random")->capture_default_str();
  command.add_flag("--quiet", options.quiet, "Only warnings and the result");
  command.add_flag("--json", options.json, "Print the result as one JSON object");
  command.parse_complete_callback([&options] { terminal().set_quiet(options.quiet); });
}

Terminal& terminal() {
  static Terminal instance;
  return instance;
}

CancelFlag& interrupt_flag() {
  static CancelFlag flag;
  return flag;
}

RunContext run_context(const CommonOptions& options) {
  return {.progress = &terminal(),
          .cancel = &interrupt_flag(),
          .seed = options.seed,
          .threads = options.threads > 0 ? options.threads : default_threads()};
}

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    throw OutputError(concat("cannot write to standard output: ", std::strerror(errno)));
}

void print_result(const CommonOptions& options, const OrderedJson& json, const std::string& text) {
  std::string out =  // names in a file may be any bytes
      options.json ? json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) : text;
  if (out.empty() || out.back() != '\n') out += '\n';
  print(out);
}

}  // namespace bitsmith
