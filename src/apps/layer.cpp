// bitsmith layer: one matrix and its Hessian through any representation and method.
#include <chrono>
#include <cstdio>
#include <memory>

#include "apps/command.h"
#include "apps/layer_options.h"
#include "base/error.h"
#include "base/log.h"
#include "compressor/model/torch_threads.h"
#include "compressor/objective/hessian_sum.h"
#include "compressor/objective/layer_file.h"

namespace bitsmith {
namespace {

constexpr const char* kLayerHelp =
    "Quantizes one matrix: error, true bits and time, in seconds. To try an idea, or to compare.\n"
    "  bitsmith layer LAYER.safetensors --representation gvq2d2b --representation aq2x8g8\n"
    "LAYER holds `weight` [out, in] and what an error of it costs, of any float type (bitsmith\n"
    "hessian writes such files); what is not there is the identity:\n"
    "  hessian        [in, in]    H of the inputs, 2/n times the sum of x x^T\n"
    "  row_weights    [out]       G of the outputs, a diagonal: what a row's error counts\n"
    "  output_factor  [out, out]  G of the outputs, full; in place of row_weights\n"
    "  cross          [in, in]    C, 2/n times the sum of (x' - x) x^T, x' the original model's\n"
    "                             inputs: the target is T = W + share W C H^-1 in place of W\n"
    "The error is tr(G (T-Q) H (T-Q)^T) / tr(G T H T^T), with H as it is in the file.";

struct LayerCommand {
  CommonOptions common;
  QuantizeOptions options;
  std::string file, method;
  std::vector<std::string> representations;
  double cross_term = 0.5;
  bool stages = false;

  void run() {
    set_torch_threads(resolved_threads(common));
    options.seed = common.seed;
    std::vector<RepresentationSpec> specs;
    for (const std::string& text : representations) specs.push_back(parse_representation(text));
    LayerFile layer = read_layer_file(file);
    const torch::Tensor& weight = layer.weight;
    Objective& objective = layer.objective;
    for (const RepresentationSpec& spec : specs) {  // all are checked before any work
      check_quantizable(spec, weight.size(0), weight.size(1));
      method_for(spec);
    }
    if (layer.cross.defined() && cross_term > 0) {
      objective.shift = cross_term_shift(
          weight, input_drift(objective.hessian, layer.cross, options.damping), cross_term);
    }
    OrderedJson results = OrderedJson::array();
    std::string table = header(weight, objective);
    for (const RepresentationSpec& spec : specs) {
      options.method = method_for(spec);
      const QuantizedLayer quantized = quantize_layer(weight, objective, spec, options);
      results.push_back(describe(spec, quantized));
      table += "\n" + row(spec, quantized);
      if (stages) table += stage_lines(quantized);
    }
    const OrderedJson json = {{"file", file},
                              {"out_features", weight.size(0)},
                              {"in_features", weight.size(1)},
                              {"results", results},
                              {"peak_memory_bytes", peak_memory_bytes()}};
    print_result(common, json, table);
  }

  Method method_for(const RepresentationSpec& spec) const {
    return method.empty() ? default_method(spec) : parse_method(method, spec);
  }

  std::string header(const torch::Tensor& weight, const Objective& objective) const {
    char line[200];
    std::snprintf(line, sizeof(line), "\n%-28s %-6s %9s %15s %9s", "representation", "method",
                  "bits", "relative error", "seconds");
    return concat(file, ": ", weight.size(0), " x ", weight.size(1),
                  objective.hessian.defined() ? "" : ", no Hessian",
                  objective.joins_rows()              ? ", full output factor"
                  : objective.output_factor.defined() ? ", weights of rows"
                                                      : "",
                  objective.shift.defined() ? ", cross term" : "", line);
  }
  std::string row(const RepresentationSpec& spec, const QuantizedLayer& layer) const {
    char line[200];
    std::snprintf(line, sizeof(line), "%-28s %-6s %9.4f %15.6g %9.2f", to_string(spec).c_str(),
                  method_name(options.method), bits(layer), layer.relative_error, layer.seconds);
    return line;
  }
  static std::string stage_lines(const QuantizedLayer& layer) {
    std::string lines;
    for (const StageReport& stage : layer.stages) {
      char line[200];
      std::snprintf(line, sizeof(line), "\n    %-50s %15.6g %9.2f", stage.stage.c_str(),
                    stage.relative_error, stage.seconds);
      lines += line;
    }
    return lines;
  }
  static double bits(const QuantizedLayer& layer) {
    const Representation& r = *layer.representation;
    return r.bits() / static_cast<double>(r.out_features() * r.in_features());
  }
  OrderedJson describe(const RepresentationSpec& spec, const QuantizedLayer& layer) const {
    OrderedJson stage_list = OrderedJson::array();
    for (const StageReport& stage : layer.stages) {
      stage_list.push_back({{"stage", stage.stage},
                            {"relative_error", stage.relative_error},
                            {"seconds", stage.seconds}});
    }
    return {{"representation", to_string(spec)},
            {"method", method_name(options.method)},
            {"bits", bits(layer)},
            {"relative_error", layer.relative_error},
            {"seconds", layer.seconds},
            {"stages", stage_list}};
  }
};

}  // namespace

void add_layer(CLI::App& app) {
  auto command = std::make_shared<LayerCommand>();
  CLI::App& sub = *app.add_subcommand("layer", kLayerHelp);
  sub.add_option("LAYER", command->file, "safetensors file with `weight` and its objective")
      ->required();
  sub.add_option("--representation", command->representations,
                 "What the matrix becomes (see bitsmith quantize --help); may repeat")
      ->required();
  sub.add_option("--method", command->method,
                 "rtn, gptq, aqlm, gptvq (default: by representation)");
  sub.add_option("--cross-term", command->cross_term,
                 "Share of the cross term, where the file has `cross`")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  sub.add_flag("--stages", command->stages, "Print the error after each stage");
  add_layer_options(sub, command->options);
  add_common_options(sub, command->common);
  sub.callback([command] { command->run(); });
}

}  // namespace bitsmith
