// bitsmith layer: one matrix and its Hessian through any representation and method.
#include <memory>

#include "apps/cli_options.h"
#include "apps/command.h"
#include "apps/compressor/commands.h"
#include "apps/compressor_help.h"
#include "base/error.h"
#include "base/files.h"
#include "pipeline/compressor/layer.h"

namespace bitsmith {
namespace {

std::string header(const LayerJob& job, const LayerTrials& all) {
  return concat(job.file.string(), ": ", all.out_features, " x ", all.in_features,
                all.objective.empty() ? "" : ", " + all.objective,
                format("\n%-28s %-6s %9s %15s %9s", "representation", "method", "bits",
                       "relative error", "seconds"));
}

std::string row(const LayerTrial& trial) {
  return format("\n%-28s %-6s %9.4f %15.6g %9.2f", to_string(trial.representation).c_str(),
                method_name(trial.method), trial.bits, trial.relative_error, trial.seconds);
}

std::string stage_lines(const LayerTrial& trial) {
  std::string lines;
  for (const StageReport& stage : trial.stages) {
    lines += format("\n    %-50s %15.6g %9.2f", stage.stage.c_str(), stage.relative_error,
                    stage.seconds);
  }
  return lines;
}

OrderedJson to_json(const LayerTrial& trial) {
  OrderedJson stages = OrderedJson::array();
  for (const StageReport& stage : trial.stages) {
    stages.push_back({{"stage", stage.stage},
                      {"relative_error", stage.relative_error},
                      {"seconds", stage.seconds}});
  }
  return {{"representation", to_string(trial.representation)},
          {"method", method_name(trial.method)},
          {"bits", trial.bits},
          {"relative_error", trial.relative_error},
          {"seconds", trial.seconds},
          {"stages", stages}};
}

struct LayerCommand {
  CommonOptions common;
  LayerJob job;
  std::vector<std::string> representations;
  bool stages = false;

  void run() {
    for (const std::string& text : representations)
      job.representations.push_back(parse_representation(text));
    const LayerTrials all = try_layer(job, run_context(common));
    OrderedJson results = OrderedJson::array();
    std::string table = header(job, all);
    for (const LayerTrial& trial : all.trials) {
      results.push_back(to_json(trial));
      table += row(trial);
      if (stages) table += stage_lines(trial);
    }
    print_result(common,
                 {{"file", job.file.string()},
                  {"out_features", all.out_features},
                  {"in_features", all.in_features},
                  {"results", results},
                  {"peak_memory_bytes", peak_memory_bytes()}},
                 table);
  }
};

}  // namespace

void add_layer(CLI::App& app) {
  auto command = std::make_shared<LayerCommand>();
  CLI::App& sub = *app.add_subcommand("layer", layer_help());
  sub.add_option("LAYER", command->job.file, "safetensors file with `weight` and its objective")
      ->required();
  sub.add_option("--representation", command->representations,
                 "What the matrix becomes (see bitsmith quantize --help); may repeat")
      ->required();
  sub.add_option_function<std::string>(
      "--method", [command](const std::string& name) { command->job.method = parse_method(name); },
      methods_help());
  sub.add_option("--cross-term", command->job.cross_term,
                 "Share of the cross term, where the file has `cross`")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  sub.add_flag("--stages", command->stages, "Print the error after each stage");
  add_options(sub, command->job.options);
  add_common_options(sub, command->common);
  sub.callback([command] { command->run(); });
}

}  // namespace bitsmith
