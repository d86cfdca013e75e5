// bitsmith: one subcommand a stage. It links no LibTorch and starts at once; for a command that
// needs LibTorch it becomes bitsmith-compressor.
#include "apps/bitsmith/commands.h"
#include "apps/bitsmith/compressor_program.h"
#include "apps/compressor_help.h"
#include "apps/engines.h"
#include "apps/program.h"
#include "runtime/runtime_language_model.h"

namespace bitsmith {
namespace {

void add_commands(CLI::App& app, const CompressorProgram& compressor) {
  const auto loader = [&compressor](const EngineChoice& engine) -> EngineLoader {
    if (engine.engine == "torch") compressor.take_over();
    return load_runtime_language_model;
  };
  const Engines engines{.has_torch = compressor.exists(), .loader = loader};
  // Known by name and help; its options are read by the compressor.
  const auto add_compressor_command = [&app, &compressor](const char* name,
                                                          const std::string& help) {
    if (!compressor.exists()) return;
    app.add_subcommand(name, help)->preparse_callback([&compressor](size_t) {
      compressor.take_over();
    });
  };
  add_compressor_command("compress", compress_help());
  add_inspect(app);
  add_tokenize(app);
  add_logits(app, engines);
  add_compressor_command("quantize", quantize_help());
  add_compressor_command("hessian", hessian_help());
  add_compressor_command("layer", layer_help());
  add_compressor_command("tune", tune_help());
  add_eval(app, engines);
  add_report(app);
  add_run(app);
#ifdef BITSMITH_SERVE
  add_serve(app);
#endif
  add_pack(app);
  add_bench(app);
}

}  // namespace
}  // namespace bitsmith

int main(int argc, char** argv) {
  const bitsmith::CompressorProgram compressor(argv);
  return bitsmith::run_program(argc, argv,
                               [&](CLI::App& app) { bitsmith::add_commands(app, compressor); });
}
