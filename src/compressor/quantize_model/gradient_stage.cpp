#include "compressor/quantize_model/gradient_stage.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "compressor/model/dense_tensor.h"
#include "compressor/quantize_model/work_tensors.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTokens = ".tokens";
constexpr const char* kRows = ".rows";

std::map<std::string, int64_t> planned_rows(const ModelPlan& model, const QuantizationPlan& plan) {
  std::map<std::string, int64_t> rows;  // by module
  for (const BlockPlan& block : model.blocks) {
    for (const LinearPlan* linear : linears(block))
      if (plan.find(linear->name)) rows[linear->name] = linear->out_features;
  }
  return rows;
}

void write_gradients(const fs::path& path, const OutputGradients& gradients,
                     const std::string& request_hash) {
  std::vector<TensorView> tensors;
  const auto add = [&](const std::string& name, const torch::Tensor& values) {
    tensors.push_back({name,
                       DType::F32,
                       values.sizes().vec(),
                       {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()}});
  };
  for (const auto& [module, own] : gradients) {
    add(module + kTokens, own.tokens);
    add(module + kRows, own.rows);
  }
  write_work_tensors(path, tensors, {}, request_hash);
}

// Of `tokens` tokens, for modules with so many rows.
OutputGradients read_gradients(const fs::path& path, const std::map<std::string, int64_t>& rows,
                               int64_t tokens, const std::string& request_hash) {
  const SafetensorsFile file = open_work_tensors(path, request_hash);
  const auto read = [&](const std::string& name, int64_t size) {
    const TensorView* view = file.find(name);
    if (!view || view->dtype != DType::F32 || view->shape != std::vector<int64_t>{size})
      throw Error(concat(path.string(), ": tensor '", name, "' of ", size,
                         " float32 values is missing; delete the file to have it made again"));
    torch::Tensor values = torch::empty({size});
    std::memcpy(values.data_ptr(), view->bytes.data(), view->bytes.size());
    return values;
  };
  OutputGradients gradients;
  for (const auto& [module, out] : rows)
    gradients[module] = {read(module + kTokens, tokens), read(module + kRows, out)};
  return gradients;
}

}  // namespace

int64_t gradient_batch_windows(const ModelPlan& model, int64_t windows) {
  return std::max<int64_t>(1, 4 * windows / (model.num_blocks() + 1));
}

OutputGradients collect_output_gradients(const std::shared_ptr<const ModelFiles>& files,
                                         const torch::Tensor& windows, const QuantizationPlan& plan,
                                         const QuantizeModelOptions& options,
                                         const WorkFolder& work, const RunContext& context) {
  const int64_t count = windows.size(0), length = windows.size(1);
  const int64_t at_once = gradient_batch_windows(files->plan(), count);
  const std::map<std::string, int64_t> rows = planned_rows(files->plan(), plan);
  std::set<std::string> modules;
  for (const auto& [module, out] : rows) modules.insert(module);
  const auto file = [&](int64_t first) {
    return work.file(numbered_name("gradients", first / at_once) + ".safetensors");
  };

  int64_t resumed = 0;  // windows
  while (resumed < count && fs::exists(file(resumed))) resumed = std::min(resumed + at_once, count);
  if (resumed > 0 && resumed < count)
    log_info(concat("resuming: the gradients of ", resumed, " of ", count, " windows are there"));
  if (resumed < count) {
    ReportedTask task(context, "gradients");
    const auto decoder = Decoder::load_without_blocks(files, compute_dtype(options.dtype));
    for (int64_t first = resumed; first < count; first += at_once) {
      const int64_t own = std::min(at_once, count - first);
      const auto report = [&](double share) {
        if (context.cancelled())
          throw Interrupted(concat("stopped after the gradients of ", first, " of ", count,
                                   " windows; they are in ", work.path().string(),
                                   ", and the same command goes on from there"));
        task.update((static_cast<double>(first - resumed) + share * static_cast<double>(own)) /
                        static_cast<double>(count - resumed),
                    concat(first, "/", count, " windows"));
      };
      write_gradients(file(first),
                      output_gradients(*decoder, windows.narrow(0, first, own), modules,
                                       {.seed = options.linear.seed,
                                        .first_window = first,
                                        .batch_tokens = options.batch_tokens},
                                       report),
                      work.hash());
    }
  }

  std::map<std::string, std::vector<LinearGradients>> parts;
  for (int64_t first = 0; first < count; first += at_once) {
    for (auto& [module, own] :
         read_gradients(file(first), rows, std::min(at_once, count - first) * length, work.hash()))
      parts[module].push_back(std::move(own));
  }
  OutputGradients all;
  for (const auto& [module, own] : parts) all[module] = joined(own);
  return all;
}

}  // namespace bitsmith
