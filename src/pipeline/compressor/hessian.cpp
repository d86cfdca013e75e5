#include "pipeline/compressor/hessian.h"

#include <set>

#include "base/error.h"
#include "compressor/model/dense_tensor.h"
#include "compressor/model/torch_threads.h"
#include "compressor/objective/layer_file.h"
#include "compressor/quantize_model/linear_hessians.h"
#include "compressor/quantize_model/module_pattern.h"

namespace bitsmith {
namespace {

std::set<std::string> matching_modules(const ModelPlan& model,
                                       const std::vector<std::string>& texts) {
  std::vector<ModulePattern> patterns;
  for (const std::string& text : texts) patterns.emplace_back("module", text);
  std::set<std::string> names;
  for (const BlockPlan& block : model.blocks) {
    for (const LinearPlan* linear : linears(block)) {
      for (ModulePattern& pattern : patterns) {
        if (pattern.matches(linear->name)) names.insert(linear->name);
      }
    }
  }
  const std::string example = linears(model.blocks.front()).back()->name;
  for (const ModulePattern& pattern : patterns) pattern.require_used(example);
  return names;
}

}  // namespace

HessianOutcome write_hessians(const HessianJob& job, const RunContext& context) {
  set_torch_threads(context.threads);
  const auto files = ModelFiles::open(job.model);
  const std::set<std::string> names = matching_modules(files->plan(), job.modules);
  TokenDataset dataset = load_training_data(*files, job.data, context);
  warn_of_few_tokens(*files, dataset);
  std::filesystem::create_directories(job.out);
  HessianOutcome outcome;
  outcome.tokens = dataset.train.numel();
  each_linear_hessian(
      files, dataset.train, compute_dtype(job.dtype), names,
      [&](const Linear& linear, const torch::Tensor& hessian) {
        const auto path = job.out / (linear.name + ".safetensors");
        write_layer_file(path, {read_matrix(*files, linear.name, torch::kFloat32), hessian, {}});
        outcome.files.push_back({linear.name, linear.out_features, linear.in_features, path});
      },
      context);
  return outcome;
}

}  // namespace bitsmith
