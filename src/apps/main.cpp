// bitsmith: one program, one subcommand a stage.
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

namespace {

// The next file that is opened would take the place of a standard stream that is closed.
void open_standard_streams() {
  const bool no_output = ::fcntl(STDOUT_FILENO, F_GETFD) < 0;
  int fd = -1;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) ::close(fd);
  if (no_output)
    throw bitsmith::OutputError("standard output is closed; give it a file, or /dev/null");
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
    bitsmith::print(out.str());
    return 0;
  }
  if (const std::string unknown = bitsmith::unknown_word(app, argc, argv); !unknown.empty())
    return failure(unknown + "\nRun with --help for more information.", 2);
  std::fputs(bitsmith::printable(out.str()).c_str(), stderr);
  return 2;
}

int run_program(int argc, char** argv) {
  open_standard_streams();
  CLI::App app(
      "Compresses large language models to 1-4 bits a weight and runs them fast on ordinary CPUs.",
      "bitsmith");
  app.set_version_flag("--version", [] {
    return bitsmith::concat("bitsmith ", BITSMITH_VERSION, " (",
                            bitsmith::isa_name(bitsmith::selected_isa()), " kernels)");
  });
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
#ifdef BITSMITH_COMPRESSOR
  bitsmith::add_compress(app);
#endif
  bitsmith::add_inspect(app);
  bitsmith::add_tokenize(app);
  bitsmith::add_logits(app);
#ifdef BITSMITH_COMPRESSOR
  bitsmith::add_quantize(app);
  bitsmith::add_hessian(app);
  bitsmith::add_layer(app);
  bitsmith::add_tune(app);
#endif
  bitsmith::add_eval(app);
  bitsmith::add_report(app);
  bitsmith::add_run(app);
#ifdef BITSMITH_SERVE
  bitsmith::add_serve(app);
#endif
  bitsmith::add_pack(app);
  bitsmith::add_bench(app);

  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    return parse_failure(app, error, argc, argv);
  }
}

}  // namespace

int main(int argc, char** argv) {
  bitsmith::set_log_sink(bitsmith::say);
  bitsmith::install_interrupt_handler(bitsmith::interrupt_flag());
  bitsmith::install_mapping_fault_handler();
  ::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of the write
  try {
    return run_program(argc, argv);
  } catch (const bitsmith::OutputExists& error) {
    return failure(bitsmith::concat(error.what(), ", or --force to replace it"), 2);
  } catch (const bitsmith::UsageError& error) {
    return failure(error.what(), 2);
  } catch (const bitsmith::Interrupted& error) {
    return failure(error.what(), 130);
  } catch (const std::exception& error) {
    return failure(bitsmith::error_message(error), 1);
  }
}
