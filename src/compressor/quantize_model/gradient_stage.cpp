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
                               int64_t row_groups, int64_t tokens,
                               const std::string& request_hash) {
  const SafetensorsFile file = open_work_tensors(path, request_hash);
  const auto read = [&](const std::string& name, const std::vector<int64_t>& shape) {
    const TensorView* view = file.find(name);
    if (!view || view->dtype != DType::F32 || view->shape != shape)
      throw Error(concat(path.string(), ": tensor '", name, "' of ", element_count(shape),
                         " float32 values is missing; delete the file to have it made again"));
    torch::Tensor values = torch::empty(shape);
    std::memcpy(values.data_ptr(), view->bytes.data(), view->bytes.size());
    return values;
  };
  OutputGradients gradients;
  for (const auto& [module, out] : rows)
    gradients[module] = {read(module + kTokens, {row_groups, tokens}), read(module + kRows, {out})};
  return gradients;
}

}  // namespace

int64_t gradient_batch_windows(const ModelPlan& model, int64_t windows) {
  return std::max<int64_t>(1, 4 * windows / (model.num_blocks() + 1));
}

std::vector<MomentBatch> gradient_batches(const ModelPlan& model, int64_t windows, bool in_parts) {
  const int64_t at_once = gradient_batch_windows(model, windows);
  std::vector<MomentBatch> batches;
  const auto cut = [&](MomentPart part, int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += at_once)
      batches.push_back({part, first, std::min(at_once, end - first), first == begin});
  };
  if (!in_parts) {
    cut(MomentPart::kFirst, 0, windows);
    return batches;
  }
  const std::array<int64_t, 4> bounds = moment_part_bounds(windows);
  cut(MomentPart::kFirst, bounds[0], bounds[1]);
  cut(MomentPart::kSecond, bounds[1], bounds[2]);
  cut(MomentPart::kHeldOut, bounds[2], bounds[3]);
  return batches;
}

OutputGradients collect_output_gradients(const std::shared_ptr<const ModelFiles>& files,
                                         const torch::Tensor& windows, const QuantizationPlan& plan,
                                         const QuantizeModelOptions& options,
                                         const WorkFolder& work, const RunContext& context) {
  const int64_t count = windows.size(0), length = windows.size(1);
  const std::vector<MomentBatch> batches =
      gradient_batches(files->plan(), count, options.kronecker());
  const std::map<std::string, int64_t> rows = planned_rows(files->plan(), plan);
  std::set<std::string> modules;
  for (const auto& [module, out] : rows) modules.insert(module);
  const auto file = [&](size_t number) {
    return work.file(numbered_name("gradients", static_cast<int64_t>(number)) + ".safetensors");
  };

  Communicator& ranks = *context.communicator;
  size_t resumed = 0;  // batches
  while (ranks.first() && resumed < batches.size() && fs::exists(file(resumed))) ++resumed;
  resumed = ranks.broadcast_value(resumed);
  if (resumed > 0 && resumed < batches.size())
    log_info(concat("resuming: the gradients of ", batches[resumed].first, " of ", count,
                    " windows are there"));
  const int makers = options.kronecker() ? 1 : ranks.size();
  if (resumed < batches.size() && ranks.rank() < makers) {
    ReportedTask task(context, "gradients");
    const auto decoder = Decoder::load_without_blocks(files, compute_dtype(options.dtype));
    const MomentFiles moment_files(work);
    const int64_t begin = batches[resumed].first;
    for (size_t number = resumed; number < batches.size(); ++number) {
      if (static_cast<int>(number % static_cast<size_t>(makers)) != ranks.rank()) continue;
      if (fs::exists(file(number))) continue;
      const MomentBatch& batch = batches[number];
      const auto report = [&](double share) {
        if (context.cancelled())
          throw Interrupted(concat("stopped after the gradients of ", batch.first, " of ", count,
                                   " windows; they are in ", work.path().string(),
                                   ", and the same command goes on from there"));
        task.update(
            (static_cast<double>(batch.first - begin) + share * static_cast<double>(batch.count)) /
                static_cast<double>(count - begin),
            concat(batch.first, "/", count, " windows"));
      };
      GradientPassOptions pass = {.seed = options.linear.seed,
                                  .first_window = batch.first,
                                  .batch_tokens = options.batch_tokens,
                                  .row_groups = options.guided_groups};
      MomentSink take_moments;
      if (options.kronecker()) {
        pass.samples = batch.part == MomentPart::kHeldOut ? GradientSamples::kWindows
                                                          : GradientSamples::kTokens;
        pass.damping = options.linear.damping;
        take_moments = [&](int64_t block_index, const SecondMoments& moments) {
          moment_files.add(batch, block_index, moments);
        };
      }
      write_gradients(file(number),
                      output_gradients(*decoder, windows.narrow(0, batch.first, batch.count),
                                       modules, pass, report, take_moments),
                      work.hash());
    }
  }

  ranks.barrier();

  std::map<std::string, std::vector<LinearGradients>> parts;
  for (size_t number = 0; number < batches.size(); ++number) {
    for (auto& [module, own] : read_gradients(file(number), rows, options.guided_groups,
                                              batches[number].count * length, work.hash()))
      parts[module].push_back(std::move(own));
  }
  OutputGradients all;
  for (const auto& [module, own] : parts) all[module] = joined(own);
  return all;
}

}  // namespace bitsmith
