#include "apps/command.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <vector>

#include "base/thread_pool.h"

namespace bitsmith {
namespace {

// Warnings of this process. Thread-safe.
class SaidWarnings {
 public:
  void add(const std::string& message) {
    const std::lock_guard lock(mutex_);
    messages_.push_back(message);
  }
  std::vector<std::string> all() const {
    const std::lock_guard lock(mutex_);
    return messages_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> messages_;
};

SaidWarnings& said_warnings() {
  static SaidWarnings instance;
  return instance;
}

}  // namespace

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
  static std::once_flag once;
  std::call_once(once, [] { install_interrupt_handler(flag); });
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

void say(Severity severity, const std::string& message) {
  terminal().say(severity, message);
  if (severity == Severity::kWarning) said_warnings().add(message);
}

void print_result(const CommonOptions& options, const OrderedJson& json, const std::string& text) {
  OrderedJson object = json;
  if (const std::vector<std::string> warnings = said_warnings().all(); !warnings.empty())
    object["warnings"] = warnings;
  std::string out =  // names in a file may be any bytes
      options.json ? object.dump(2, ' ', false, OrderedJson::error_handler_t::replace) : text;
  if (out.empty() || out.back() != '\n') out += '\n';
  print(out);
}

}  // namespace bitsmith
