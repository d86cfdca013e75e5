// bitsmith pack MODEL -o FILE: a model in one file, laid out for this machine's kernels.
#include <chrono>
#include <memory>

#include "apps/command.h"
#include "base/files.h"
#include "base/log.h"
#include "runtime/pack_model.h"

namespace bitsmith {
namespace {

struct PackCommand {
  CommonOptions common;
  std::string model, out;
  bool force = false;

  void run() const {
    const auto start = std::chrono::steady_clock::now();
    const PackResult result = pack_model(model, out, force, run_context(common));
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    print_result(common,
                 {{"out", out},
                  {"isa", result.isa},
                  {"model_bytes", result.model_bytes},
                  {"file_bytes", result.file_bytes},
                  {"seconds", seconds},
                  {"peak_memory_bytes", peak_memory_bytes()}},
                 concat(out, ": ", format_bytes(static_cast<double>(result.file_bytes)),
                        " for the kernels of ", result.isa, "; the model has ",
                        format_bytes(static_cast<double>(result.model_bytes))));
  }
};

}  // namespace

void add_pack(CLI::App& app) {
  const auto command = std::make_shared<PackCommand>();
  CLI::App* sub = app.add_subcommand(
      "pack",
      "A model in one file that run, serve, bench and eval map instead of loading: weights laid "
      "out for the kernels of this machine, or of the level that BITSMITH_ISA names");
  sub->add_option("MODEL", command->model,
                  "Hugging Face directory, GGUF file or Bitsmith directory")
      ->required();
  sub->add_option("-o,--out", command->out, "The packed model")->required();
  sub->add_flag("--force", command->force, "Replace an existing packed model");
  add_common_options(*sub, command->common);
  sub->callback([command] { command->run(); });
}

}  // namespace bitsmith
