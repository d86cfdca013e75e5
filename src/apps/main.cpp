// bitsmith: one program, one subcommand a stage.
#include <cstdio>
#include <exception>

#include "apps/command.h"
#include "base/error.h"
#include "base/log.h"

int main(int argc, char** argv) {
  CLI::App app(
      "Compresses large language models to 1-4 bits a weight and runs them fast on ordinary CPUs.",
      "bitsmith");
  app.set_version_flag("--version", std::string("bitsmith ") + BITSMITH_VERSION);
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
  bitsmith::add_run(app);
  bitsmith::add_bench(app);

  bitsmith::install_interrupt_handler();
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  } catch (const bitsmith::UsageError& e) {
    std::fprintf(stderr, "bitsmith: %s\n", e.what());
    return 2;
  } catch (const bitsmith::Interrupted& e) {
    std::fprintf(stderr, "bitsmith: %s\n", e.what());
    return 130;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bitsmith: %s\n", bitsmith::printable(e.what()).c_str());
    return 1;
  }
}
