#include "apps/program.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <sstream>

#include "apps/command.h"
#include "apps/near_names.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mapping_faults.h"
#include "format/output_exists.h"
#include "kernels/cpu_features.h"

namespace bitsmith {
namespace {

// The next file that is opened would take the place of a standard stream that is closed.
void open_standard_streams() {
  const bool no_output = ::fcntl(STDOUT_FILENO, F_GETFD) < 0;
  int fd = -1;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) ::close(fd);
  if (no_output) throw OutputError("standard output is closed; give it a file, or /dev/null");
}

int failure(const std::string& message, int code) {
  std::fprintf(stderr, "bitsmith: %s\n", message.c_str());
  return code;
}

// --help and --version come here too.
int parse_failure(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  std::ostringstream out;
  app.exit(error, out, out);
  if (error.get_exit_code() == 0) {
    print(out.str());
    return 0;
  }
  if (const std::string unknown = unknown_word(app, argc, argv); !unknown.empty())
    return failure(unknown + "\nRun with --help for more information.", 2);
  std::fputs(printable(out.str()).c_str(), stderr);
  return 2;
}

int parse_and_run(int argc, char** argv, const std::function<void(CLI::App&)>& add_commands) {
  CLI::App app(
      "Compresses large language models to 1-4 bits a weight and runs them fast on ordinary CPUs.",
      "bitsmith");
  app.set_version_flag("--version", [] {
    return concat("bitsmith ", BITSMITH_VERSION, " (", isa_name(selected_isa()), " kernels)");
  });
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  add_commands(app);
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    return parse_failure(app, error, argc, argv);
  }
}

}  // namespace

int run_program(int argc, char** argv, const std::function<void(CLI::App&)>& add_commands) {
  set_log_sink(say);
  install_mapping_fault_handler();
  ::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of the write
  try {
    open_standard_streams();
    return parse_and_run(argc, argv, add_commands);
  } catch (const OutputExists& error) {
    return failure(concat(error.what(), ", or --force to replace it"), 2);
  } catch (const UsageError& error) {
    return failure(error.what(), 2);
  } catch (const Interrupted& error) {
    return failure(error.what(), 130);
  } catch (const std::exception& error) {
    return failure(error_message(error), 1);
  }
}

}  // namespace bitsmith
