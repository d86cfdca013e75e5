// bitsmith hessian: matrices of a model with the Hessians of their inputs, for bitsmith layer.
#include <memory>

#include "apps/command.h"
#include "apps/compressor/commands.h"
#include "apps/compressor/training_data_options.h"
#include "apps/compressor_help.h"
#include "base/error.h"
#include "base/files.h"
#include "pipeline/compressor/hessian.h"

namespace bitsmith {
namespace {

struct HessianCommand {
  CommonOptions common;
  HessianJob job;

  void run() const {
    const HessianOutcome outcome = write_hessians(job, run_context(common));
    OrderedJson linears = OrderedJson::array();
    std::string table;
    for (const HessianFile& file : outcome.files) {
      linears.push_back({{"module", file.module},
                         {"out_features", file.out_features},
                         {"in_features", file.in_features},
                         {"file", file.path.string()}});
      table += concat(table.empty() ? "" : "\n", file.path.string(), ": ", file.out_features, " x ",
                      file.in_features);
    }
    print_result(common,
                 {{"tokens", outcome.tokens},
                  {"layers", linears},
                  {"peak_memory_bytes", peak_memory_bytes()}},
                 table);
  }
};

}  // namespace

void add_hessian(CLI::App& app) {
  auto command = std::make_shared<HessianCommand>();
  CLI::App& sub = *app.add_subcommand("hessian", hessian_help());
  sub.add_option("MODEL", command->job.model,
                 "Hugging Face directory, GGUF file or Bitsmith directory")
      ->required();
  sub.add_option(
         "--module", command->job.modules,
         "Regular expression over names of matrices, as layers.14.mlp.down_proj; may repeat")
      ->required();
  sub.add_option("-o,--out", command->job.out,
                 "Folder for the files; those of the same name are replaced")
      ->required();
  add_training_data_options(sub, command->job.data, "--calibration-tokens");
  sub.add_option("--dtype", command->job.dtype, "Of the forward passes: float32 or bfloat16")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  add_common_options(sub, command->common);
  sub.callback([command] { command->run(); });
}

}  // namespace bitsmith
