// bitsmith hessian: matrices of a model with the Hessians of their inputs, for bitsmith layer.
#include <filesystem>
#include <memory>
#include <set>

#include "apps/command.h"
#include "apps/training_data.h"
#include "base/error.h"
#include "base/log.h"
#include "compressor/model/dense_tensor.h"
#include "compressor/model/torch_threads.h"
#include "compressor/objective/layer_file.h"
#include "compressor/quantize/layer_hessians.h"
#include "compressor/quantize/module_pattern.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHessianHelp =
    "Writes matrices of a model with the Hessians of their inputs, for bitsmith layer.\n"
    "  bitsmith hessian MODEL --module 'layers\\.14\\.' --data wiki.txt -o layers\n"
    "One file a matrix, OUT/MODULE.safetensors: `weight` [out, in] and `hessian` [in, in], 2/n "
    "times\n"
    "the sum of x x^T over the n tokens, both float32.";

struct HessianCommand {
  CommonOptions common;
  TrainingDataOptions data;
  std::string model, out, dtype = "float32";
  std::vector<std::string> modules;

  void run() {
    const int threads = resolved_threads(common);
    set_torch_threads(threads);
    const auto files = ModelFiles::open(model);
    const std::set<std::string> names = matching_modules(files->config());
    const TokenDataset dataset = load_training_data(*files, data, threads, common.seed);
    warn_of_few_tokens(*files, dataset);
    fs::create_directories(out);
    Progress progress("hessian");
    OrderedJson written = OrderedJson::array();
    std::string table;
    each_layer_hessian(
        files, dataset.train, compute_dtype(dtype), names,
        [&](const Linear& linear, const torch::Tensor& hessian) {
          const fs::path path = fs::path(out) / (linear.name + ".safetensors");
          write_layer_file(path, {read_matrix(*files, linear.name, torch::kFloat32), hessian, {}});
          written.push_back({{"module", linear.name},
                             {"out_features", linear.out_features},
                             {"in_features", linear.in_features},
                             {"file", path.string()}});
          table += concat(table.empty() ? "" : "\n", path.string(), ": ", linear.out_features,
                          " x ", linear.in_features);
        },
        [&](double share, const std::string& detail) { progress.update(share, detail); });
    print_result(common,
                 {{"tokens", dataset.train.numel()},
                  {"layers", written},
                  {"peak_memory_bytes", peak_memory_bytes()}},
                 table);
  }

  std::set<std::string> matching_modules(const ModelConfig& config) const {
    std::vector<ModulePattern> patterns;
    for (const std::string& text : modules) patterns.emplace_back("--module", text);
    std::set<std::string> names;
    for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
      for (const LinearShape& linear : block_linears(config, layer)) {
        for (ModulePattern& pattern : patterns) {
          if (pattern.matches(linear.name)) names.insert(linear.name);
        }
      }
    }
    const std::string example = block_linears(config, 0).back().name;
    for (const ModulePattern& pattern : patterns) pattern.require_used(example);
    return names;
  }
};

}  // namespace

void add_hessian(CLI::App& app) {
  auto command = std::make_shared<HessianCommand>();
  CLI::App& sub = *app.add_subcommand("hessian", kHessianHelp);
  sub.add_option("MODEL", command->model, "Hugging Face directory, GGUF file or Bitsmith directory")
      ->required();
  sub.add_option("--module", command->modules,
                 "Regular expression over names of matrices, as model.layers.14.mlp.down_proj; may "
                 "repeat")
      ->required();
  sub.add_option("-o,--out", command->out,
                 "Folder for the files; those of the same name are replaced")
      ->required();
  add_training_data_options(sub, command->data, "--calibration-tokens");
  sub.add_option("--dtype", command->dtype, "Of the forward passes: float32 or bfloat16")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  add_common_options(sub, command->common);
  sub.callback([command] { command->run(); });
}

}  // namespace bitsmith
