#include "compressor/quantize_model/quantize_model.h"

#include <algorithm>
#include <chrono>
#include <fstream>

#include "architecture/model_size.h"
#include "architecture/weight_check.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "compressor/model/dense_tensor.h"
#include "compressor/model/torch_threads.h"
#include "compressor/quantize_model/block_quantizer.h"
#include "compressor/quantize_model/dense_tensor_source.h"
#include "compressor/quantize_model/gradient_stage.h"
#include "compressor/quantize_model/model_card.h"
#include "compressor/quantize_model/outer_quantizer.h"
#include "compressor/quantize_model/quantization_plan.h"
#include "compressor/quantize_model/quantization_resources.h"
#include "compressor/quantize_model/quantized_modules.h"
#include "compressor/quantize_model/result_tensors.h"
#include "compressor/quantize_model/work_tensors.h"
#include "tokenizer/gguf_tokenizer_export.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

void check_data(const TokenDataset& data, const ModelPlan& model,
                const QuantizeModelOptions& options) {
  if (options.uses_halves() && data.train.size(0) < 2)
    throw Error(
        "noise is estimated from two halves of the calibration text, which is one window: give "
        "more tokens or a shorter context");
  if (options.kronecker() && data.train.size(0) < kLeastMomentWindows)
    throw Error(
        concat("the objective kronecker needs ", kLeastMomentWindows,
               " windows of calibration text, two to learn from and one to judge by; there ",
               data.train.size(0) == 1 ? "is " : "are ", data.train.size(0),
               ": give more tokens or a shorter context"));
  const int64_t low = data.train.min().item<int64_t>(), high = data.train.max().item<int64_t>();
  if (low < 0 || high >= model.vocab_size)
    throw Error(concat("the calibration data holds token id ", low < 0 ? low : high,
                       ", outside the model's vocabulary of ", model.vocab_size,
                       "; it was made with another tokenizer"));
  if (data.train.size(1) > model.context)
    log_warning(concat("windows of ", data.train.size(1), " tokens are longer than the ",
                       model.context, " that the model was trained for"));
}

std::string block_name(int64_t block_index) { return numbered_name("block", block_index); }

// Reads finished modules, or makes them: all ranks do, the first writes them. It alone looks
// whether they are there: a network's file system may remember for a while that a file was not.
QuantizedModules finished_modules(const WorkFolder& work, const std::string& name,
                                  const QuantizationPlan& plan,
                                  const std::vector<LinearPlan>& candidates,
                                  const std::function<QuantizedModules()>& make,
                                  Communicator& ranks) {
  std::vector<LinearPlan> expected;
  std::map<std::string, RepresentationSpec> specs;
  for (const LinearPlan& shape : candidates) {
    if (const PlannedMatrix* matrix = plan.find(shape.name)) {
      expected.push_back(shape);
      specs[shape.name] = matrix->spec;
    }
  }
  const fs::path file = work.file(name + ".safetensors");
  if (!ranks.broadcast_value(ranks.first() && fs::exists(file))) {
    const QuantizedModules made = make();
    if (ranks.first()) write_modules(file, made, work.hash());
    ranks.barrier();
  }
  return read_modules(file, expected, specs, work.hash());
}

// Stages of every linear, a JSON object a line, with times: the log beside the result.
class StageLog {
 public:
  explicit StageLog(const fs::path& path) : file_(path, std::ios::app) {
    if (!file_) throw Error("cannot write the log " + path.string());
  }
  // After each block: the process's memory, which shall not grow from block to block.
  void write_block(int64_t block, double seconds) {
    file_ << OrderedJson{{"block", block},
                         {"seconds", seconds},
                         {"memory_bytes", memory_bytes()},
                         {"peak_memory_bytes", peak_memory_bytes()}}
                 .dump()
          << "\n";
    file_.flush();
  }
  void write(const LinearSummary& linear, const std::vector<StageReport>& stages) {
    for (const StageReport& stage : stages)
      file_ << OrderedJson{{"module", linear.module},
                           {"stage", stage.stage},
                           {"relative_error", stage.relative_error},
                           {"seconds", stage.seconds}}
                   .dump()
            << "\n";
    file_.flush();
  }

 private:
  std::ofstream file_;
};

std::string output_factors_line(const std::vector<LinearSummary>& linears) {
  int64_t full = 0, all = 0;
  for (const LinearSummary& linear : linears) {
    if (!linear.output_factor) continue;
    ++all;
    if (linear.output_factor->used == "full") ++full;
  }
  return concat("held-out gradients bear out the full output factor of ", full, " of ", all,
                " matrices");
}

torch::Tensor embed_windows(const Decoder& decoder, const QuantizedModules& outer,
                            const torch::Tensor& windows) {
  const ModelPlan& model = decoder.plan();
  if (windows.numel() == 0)
    return torch::empty({0, windows.size(1), model.hidden_size}, decoder.dtype());
  const auto found = outer.matrices.find(model.embedding.name);
  return decoder.embed_with(
      found != outer.matrices.end()
          ? decode_matrix(found->second, decoder.dtype())
          : read_matrix(decoder.files(), model.embedding.name, decoder.dtype()),
      windows);
}

void write_result(const fs::path& folder, const ModelFiles& files,
                  const std::vector<QuantizedModules>& modules, QuantizeModelResult& result,
                  OrderedJson& recipe) {
  std::map<std::string, const QuantizedTensor*> matrices;
  std::map<std::string, TensorView> changed;  // dense tensors that fine-tuning moved
  QuantizedCheckpointContent content;
  for (const QuantizedModules& saved : modules) {
    for (const auto& [name, values] : saved.dense) {
      changed[name] = {name,
                       DType::F16,
                       values.sizes().vec(),
                       {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()}};
    }
    for (const auto& [module, matrix] : saved.matrices) {
      matrices[module] = &matrix;
      content.specs[module] = matrix.spec;
    }
  }
  content.tensors = result_tensors(
      files.plan(),
      [&](const std::string& module) -> std::optional<std::vector<TensorSource>> {
        const auto found = matrices.find(module);
        if (found == matrices.end()) return std::nullopt;
        const std::vector<TensorView> parts = named_parts(*found->second, module);
        return std::vector<TensorSource>(parts.begin(), parts.end());
      },
      [&](const std::string& name) {
        const auto moved = changed.find(name);
        return moved != changed.end() ? TensorSource(moved->second)
                                      : dense_tensor_source(files.checkpoint(), name);
      });
  const ModelSize size = model_size(files.plan(), content.tensors);
  result.decoder_bits = size.decoder_bits();
  result.file_bits = size.file_bits();
  content.model_card = quantized_model_card(files.checkpoint(), result, recipe);
  recipe["decoder_bits"] = result.decoder_bits;
  recipe["file_bits"] = result.file_bits;
  recipe["layers"] = OrderedJson::array();
  for (const LinearSummary& linear : result.linears) recipe["layers"].push_back(to_json(linear));
  for (const QuantizedModules& saved : modules) {
    if (!saved.finetune.is_null()) recipe["block_finetune"].push_back(saved.finetune);
  }
  content.recipe = recipe;
  write_quantized_checkpoint(folder, files.checkpoint(), content);
}

}  // namespace

void check_quantize_request(const ModelFiles& files, const QuantizeModelOptions& options,
                            const RunContext& context) {
  if (files.is_quantized())
    throw UsageError(files.checkpoint().path().string() +
                     " is quantized already: give the original model");
  compute_dtype(options.dtype);
  const QuantizationPlan plan = plan_quantization(files, options);
  check_tokenizer_export(files.checkpoint());
  if (!context.communicator->first()) return;
  check_weights(files.checkpoint(), context, [&](const std::string& name) {
    return name.ends_with(".weight") && plan.find(name.substr(0, name.rfind('.')));
  });
}

OrderedJson quantize_request(const ModelFiles& files, const QuantizeModelOptions& options,
                             OrderedJson request) {
  request["model"] = {{"name", model_name(files.checkpoint().path())},
                      {"sha256", files.checkpoint().content_hash()}};
  request["options"] = options_json(options);
  return request;
}

bool needs_calibration(const ModelFiles& files, const QuantizeModelOptions& options) {
  return plan_quantization(files, options).needs_calibration();
}

QuantizeTime quantize_time(const ModelFiles& files, const QuantizeModelOptions& options,
                           const RunContext& context) {
  return estimate_time(plan_quantization(files, options), files.plan(), options, context);
}

QuantizeModelResult read_quantize_result(const fs::path& out) {
  const fs::path file = out / "bitsmith.json";
  const Json recipe = read_json_file(file);
  QuantizeModelResult result;
  result.decoder_bits = json_get<double>(recipe, "decoder_bits", file.string());
  result.file_bits = json_get<double>(recipe, "file_bits", file.string());
  for (const Json& linear : json_get<Json>(recipe, "layers", file.string()))
    result.linears.push_back(linear_from_json(linear, file.string()));
  result.kl = gap_from_json(recipe, file.string());
  result.file_bytes = ModelFiles::open(out)->checkpoint().file_bytes();
  return result;
}

QuantizeModelResult quantize_model(std::shared_ptr<const ModelFiles> files,
                                   const TokenDataset& data, const QuantizeModelOptions& options,
                                   WorkFolder& work, const fs::path& log_path,
                                   const RunContext& context, const BlockFinetuner& finetune,
                                   const ResultJudge& judge) {
  if (work.published()) return read_quantize_result(work.out());
  const torch::NoGradGuard no_grad;
  const auto start = std::chrono::steady_clock::now();
  const ModelPlan& model = files->plan();
  const torch::Dtype dtype = compute_dtype(options.dtype);
  QuantizationPlan plan = plan_quantization(*files, options);
  if (data.train.numel() > 0) {
    check_data(data, model, options);
  } else if (plan.needs_calibration() || finetune) {
    throw Error("no calibration windows");
  }
  const OrderedJson data_facts = {{"sha256", data.hash},
                                  {"windows", data.train.size(0)},
                                  {"length", data.train.size(1)},
                                  {"chats", data.chats}};
  work.require("calibration", data_facts);
  Communicator& ranks = *context.communicator;
  const int64_t length = data.train.size(1);
  check_resources(plan, model, options, work, data.train.numel(), length, finetune, ranks);
  const std::string ignored = ignored_tensors_line(files->checkpoint());
  if (!ignored.empty()) log_info(ignored);
  if (ranks.first())
    announce(plan, work, estimate_time(plan, model, options, context).seconds(data.train.numel()),
             ranks);

  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  StageLog log(ranks.first() ? log_path : "/dev/null");
  OutputGradients gradients;
  if (options.uses_gradients())
    gradients = collect_output_gradients(files, data.train, plan, options, work, context);
  OutputMomentSource moments;
  if (options.kronecker()) {
    moments = [moment_files = MomentFiles(work)](int64_t block_index,
                                                 const Linear& linear) mutable {
      return moment_files.read(block_index, linear.name, linear.out_features);
    };
  }
  std::optional<ReportedTask> task;
  task.emplace(context, "quantizing");
  double worst = 0;
  int64_t done = 0, resumed = 0;
  const auto stop_if_cancelled = [&] {
    if (context.cancelled())
      throw Interrupted(concat("stopped after ", done, " of ", plan.blocks, " blocks; they are in ",
                               work.path().string(), ", and the same command goes on from there"));
  };
  const OuterQuantizer outer(*files, plan, options, data.train, context);
  const std::vector<LinearPlan> last = outer.after_blocks();
  const bool head_pending =
      !last.empty() &&
      ranks.broadcast_value(ranks.first() && !fs::exists(work.file("head.safetensors")));
  const int64_t steps = plan.blocks + (last.empty() ? 0 : 1);
  const auto report = [&](double share, const std::string& detail) {
    stop_if_cancelled();
    const auto fresh = static_cast<double>(steps - resumed);
    task->update((static_cast<double>(done - resumed) + share) / fresh,
                 concat(done, "/", plan.blocks, " blocks  worst error ",
                        std::round(worst * 1e4) / 1e4, "  ", detail));
  };
  const auto observe = [&](const LinearSummary& linear, const std::vector<StageReport>& stages) {
    worst = std::max(worst, linear.relative_error);
    log.write(linear, stages);
  };

  // A method knows its matrix only, not how the model goes on.
  const auto stopping = [&](const std::function<QuantizedModules()>& make) {
    return [&, make] {
      try {
        return make();
      } catch (const Interrupted&) {
        stop_if_cancelled();
        throw;
      }
    };
  };

  std::vector<QuantizedModules> modules;  // views into the work folder's files
  const std::vector<LinearPlan> first = outer.before_blocks();
  const auto quantize_outer = [&](const std::vector<LinearPlan>& matrices,
                                  const torch::Tensor& hidden) {
    return ranks.first() ? outer.quantize(matrices, hidden, observe) : QuantizedModules();
  };
  modules.push_back(finished_modules(work, "embedding", plan, first,
                                     stopping([&] { return quantize_outer(first, {}); }), ranks));
  while (ranks.first() && resumed < plan.blocks &&
         fs::exists(work.file(block_name(resumed) + ".safetensors")))
    ++resumed;
  if (resumed > 0) log_info(concat("resuming: ", resumed, " blocks are done"));
  if (resumed == steps) resumed = 0;  // only for the progress line: no fresh step to divide by

  const auto decoder = Decoder::open(files, dtype);
  const Share own = share_of_windows(data.train.size(0), length, options.batch_tokens, ranks.rank(),
                                     ranks.size());
  auto quantizer = std::make_unique<BlockQuantizer>(
      *decoder, plan, options,
      embed_windows(*decoder, modules[0], data.train.narrow(0, own.first, own.count())),
      std::move(gradients), std::move(moments), finetune, context);
  for (int64_t block_index = 0; block_index < plan.blocks; ++block_index) {
    std::vector<LinearPlan> candidates;
    for (const LinearPlan* linear : linears(model.blocks[static_cast<size_t>(block_index)]))
      candidates.push_back(*linear);
    modules.push_back(finished_modules(
        work, block_name(block_index), plan, candidates,
        stopping([&] { return quantizer->quantize(block_index, report, observe); }), ranks));
    if (block_index + 1 < plan.blocks || head_pending)
      quantizer->advance(block_index, modules.back(), report);
    return_freed_memory();  // in pieces, since sites differ in size
    ++done;
    log.write_block(block_index, seconds());
  }
  if (!last.empty()) {
    modules.push_back(
        finished_modules(work, "head", plan, last, stopping([&] {
                           for (int64_t dense = plan.blocks; dense < model.num_blocks(); ++dense)
                             quantizer->advance(dense, {}, report);
                           const torch::Tensor hidden = final_hessian(
                               *decoder, quantizer->activations(), options.batch_tokens,
                               [&](double share) { report(share, "final hidden states"); }, ranks);
                           quantizer.reset();  // its activations take memory
                           return quantize_outer(last, hidden);
                         }),
                         ranks));
  }
  task->update(1.0, concat(done, "/", plan.blocks, " blocks"));
  task.reset();
  quantizer.reset();  // its activations are not needed for judging

  QuantizeModelResult result;
  if (!ranks.first()) return result;
  for (const QuantizedModules& saved : modules)
    result.linears.insert(result.linears.end(), saved.linears.begin(), saved.linears.end());
  if (options.kronecker()) log_info(output_factors_line(result.linears));
  OrderedJson recipe = work.recipe();
  recipe["calibration"] = data_facts;
  if (!data.warnings.empty()) recipe["calibration"]["warnings"] = data.warnings;
  const fs::path finished = work.empty_folder("result");
  write_result(finished, *files, modules, result, recipe);
  const auto quantized = ModelFiles::open(finished);
  result.file_bytes = quantized->checkpoint().file_bytes();
  result.kl = calibration_gap(files, quantized, data, dtype, context.alone());
  recipe.update(to_json(result.kl));
  if (judge) judge(quantized, recipe);
  write_json_file(finished / "bitsmith.json", recipe);
  work.publish(finished);
  result.seconds = seconds();
  return result;
}

}  // namespace bitsmith
