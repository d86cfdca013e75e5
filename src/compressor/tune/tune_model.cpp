#include "compressor/tune/tune_model.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "architecture/weight_check.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "checkpoint/safetensors.h"
#include "compressor/model/dense_tensor.h"
#include "compressor/model/gemm_rate.h"
#include "compressor/model/torch_threads.h"
#include "compressor/quantize_model/dense_tensor_source.h"
#include "compressor/train/teacher_cache.h"
#include "compressor/tune/trainer.h"
#include "compressor/tune/tune_memory.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

void check_same_model(const ModelPlan& a, const ModelPlan& b, const fs::path& path) {
  const auto same = [](const LinearPlan& x, const LinearPlan& y) {
    return x.name == y.name && x.out_features == y.out_features && x.in_features == y.in_features;
  };
  const auto of_a = quantizable_matrices(a), of_b = quantizable_matrices(b);
  if (std::equal(of_a.begin(), of_a.end(), of_b.begin(), of_b.end(), same)) return;
  throw UsageError(concat("the teacher ", path.string(),
                          " is not the model that was quantized: ", b.num_blocks(), " layers of ",
                          b.hidden_size, " with ", b.vocab_size, " tokens against ", a.num_blocks(),
                          " of ", a.hidden_size, " with ", a.vocab_size));
}

// Refuses what is asked of the embedding and head and cannot be.
void check_outer_matrices(const ModelFiles& quantized, const TuneOptions& options) {
  if (!options.embedding && !options.head) return;
  const std::string model = quantized.checkpoint().path().string();
  if (!options.embedding && quantized.plan().tied)
    throw UsageError(model + " has no head of its own: --embedding trains the matrix that is both");
  if (trained_outer_weights(quantized, options) > 0) return;
  throw UsageError(
      concat(model, options.embedding
                        ? " has a dense embedding and head: there is nothing to train in them"
                        : " has a dense head: there is nothing to train in it"));
}

// Offloaded state needs room in the work folder: itself, and the saved state, new beside old.
void check_disk(const ModelFiles& quantized, const TuneOptions& options, const fs::path& folder) {
  if (!options.offload_optimizer) return;
  const fs::path saved = folder / "state.safetensors";  // of a run that goes on
  const uint64_t times = fs::exists(saved) ? 2 : 3;
  const uint64_t needed = times * rule_state_bytes(quantized, options),
                 free = free_disk_bytes(folder);
  if (needed <= free) return;
  throw Error(concat("--offload-optimizer needs about ", format_bytes(static_cast<double>(needed)),
                     " in ", folder.string(), "; ", format_bytes(static_cast<double>(free)),
                     " are free: choose an output on another disk, or --optimizer-state 8bit"));
}

// Where the steps' targets come from. `key`: of the cache, if there is one.
std::unique_ptr<Teacher> training_teacher(Decoder& teacher, const TeacherCacheKey& key,
                                          const TokenDataset& data, const TuneOptions& options,
                                          const RunContext& context) {
  if (options.teacher_cache.empty())
    return std::make_unique<DecoderTeacher>(teacher, options.loss.temperature);
  return std::make_unique<TeacherCache>(options.teacher_cache, key, teacher, data.train,
                                        options.micro_windows(data.train.size(1)), context);
}

// The quantized directory's tensors with the tuned ones in place of theirs.
std::vector<TensorSource> merged_tensors(const Checkpoint& base, const SafetensorsFile& tuned) {
  std::vector<TensorSource> tensors;
  for (const TensorView& tensor : base.tensors()) {
    const TensorView* better = tuned.find(tensor.name);
    if (better == nullptr && base.stored_as(tensor.name) != StoredAs::kPlain)
      tensors.push_back(dense_tensor_source(base, tensor.name));
    else
      tensors.push_back(better != nullptr ? *better : tensor);
  }
  return tensors;
}

// How the quantized model was made; null where nobody says.
OrderedJson base_recipe(const fs::path& base) {
  const fs::path file = base / "bitsmith.json";
  if (!fs::exists(file)) return {};
  OrderedJson recipe = parse_ordered_json(read_text_file(file), file.string());
  if (!recipe.is_object()) throw Error(file.string() + ": not a JSON object");
  recipe.erase("judged");  // of weights that tuning changes
  if (recipe.contains("earlier_tunes") && !recipe.at("earlier_tunes").is_array())
    throw Error(file.string() + ": 'earlier_tunes' is not a list");
  return recipe;
}

void add_tune(OrderedJson& recipe, OrderedJson tune) {
  if (recipe.contains("tune")) recipe["earlier_tunes"].push_back(std::move(recipe["tune"]));
  recipe["tune"] = std::move(tune);
}

std::string tuned_model_card(const fs::path& base, const TuneOptions& options,
                             const TuneResult& result) {
  const fs::path path = base / "README.md";
  std::string card = fs::exists(path) ? read_text_file(path) : "# Quantized by Bitsmith\n";
  char text[400];
  std::snprintf(text, sizeof(text),
                "\n## Tuned\n\nPV-Tuning, strategy `%s`: %ld tokens against the original model. KL "
                "divergence on "
                "held-out text %.4f before, %.4f after (nats a token).\n",
                options.strategy.c_str(), static_cast<long>(result.tokens), result.kl_before,
                result.kl_after);
  return card + text;
}

OrderedJson to_json(const Validation& v, Loss loss) {
  OrderedJson json = {{"step", v.step}, {"tokens", v.tokens}};
  if (v.training_loss > 0)
    json[loss == Loss::kKl ? "training_kl" : "training_loss"] = v.training_loss;
  json["kl"] = v.kl;
  return json;
}

// What the result of a finished run says of itself; times are not kept.
TuneResult read_tune_result(const fs::path& out) {
  const std::string source = (out / "bitsmith.json").string();
  const Json recipe = json_get<Json>(read_json_file(source), "tune", source);
  TuneResult result;
  result.kl_before = json_get<double>(recipe, "validation_kl_before", source);
  result.kl_after = json_get<double>(recipe, "validation_kl_after", source);
  result.steps = json_get<int64_t>(recipe, "steps", source);
  result.tokens = json_get<int64_t>(recipe, "tokens", source);
  result.best_step = json_get<int64_t>(recipe, "best_step", source);
  result.codes_changed = json_get<double>(recipe, "codes_changed", source);
  result.diverged = json_get<bool>(recipe, "diverged", source);
  result.dtype = json_get<std::string>(json_get<Json>(recipe, "options", source), "dtype", source);
  return result;
}

// What each rank looks at for itself.
void check_on_this_rank(const ModelFiles& quantized, const ModelFiles& teacher,
                        TuneOptions& options, int64_t length, const std::string& less_memory,
                        const Communicator& ranks) {
  check_same_model(quantized.plan(), teacher.plan(), teacher.checkpoint().path());
  if (!quantized.is_quantized()) {
    throw UsageError(quantized.checkpoint().path().string() +
                     " is not quantized: run bitsmith quantize first");
  }
  check_outer_matrices(quantized, options);
  if (options.has_passes() && ranks.size() > 1) {
    throw UsageError(concat("the strategy ", options.strategy,
                            " is work of one process: start it alone, or choose another"));
  }
  if (options.dtype != "auto") {
    compute_dtype(options.dtype);
  } else if (gemm_rates().bfloat16 > 0) {
    log_info(concat("passes in ", run_dtype(options), ": matrix products at ",
                    std::llround(gemm_rates().bfloat16 / 1e9), " GFLOP/s in bfloat16, ",
                    std::llround(gemm_rates().float32 / 1e9), " in float32"));
  }
  base_recipe(quantized.checkpoint().path());
  const auto neighbors = static_cast<uint64_t>(ranks.local_size());  // on this machine
  const auto needed = [&] {
    return neighbors * tune_memory_bytes(quantized, options, length, ranks.size());
  };
  uint64_t memory = needed();
  const uint64_t free = available_memory_bytes();
  if (memory > free && !options.recompute_activations) {
    options.recompute_activations = true;
    const uint64_t less = needed();
    if (less <= free) {
      log_info(concat("tuning would need about ", format_bytes(static_cast<double>(memory)),
                      ": activations are computed again in the backward pass "
                      "(--recompute-activations); fewer --micro-tokens may be faster"));
    }
    memory = less;
  }
  const std::string of = neighbors > 1 ? concat(" of memory for ", neighbors, " processes")
                                       : std::string(" of memory");
  char each[32];
  std::snprintf(each, sizeof(each), "%.1f",
                trained_bytes_a_weight(quantized, options, ranks.size()));
  log_info(concat("tuning needs about ", format_bytes(static_cast<double>(memory)), of, ", ", each,
                  " bytes a quantized weight beyond the teacher; ",
                  format_bytes(static_cast<double>(free)), " are available"));
  if (memory > free) {
    throw Error(concat("tuning needs about ", format_bytes(static_cast<double>(memory)), of,
                       " and ", format_bytes(static_cast<double>(free)),
                       " are free: ", less_memory));
  }
}

}  // namespace

void check_tune_request(const ModelFiles& quantized, const ModelFiles& teacher,
                        TuneOptions& options, int64_t length, const std::string& less_memory,
                        const RunContext& context) {
  Communicator& ranks = *context.communicator;
  // Before any of them takes memory that others of its machine have counted as free.
  check_together(
      ranks, [&] { check_on_this_rank(quantized, teacher, options, length, less_memory, ranks); });
  if (!ranks.first()) return;
  const auto none = [](const std::string&) { return false; };
  check_weights(teacher.checkpoint(), context, none);
  check_weights(quantized.checkpoint(), context, none);
}

OrderedJson tune_request(const ModelFiles& quantized, const ModelFiles& teacher,
                         const TuneOptions& options, OrderedJson request) {
  request["options"] = options_json(options);
  request["quantized_sha256"] = quantized.checkpoint().content_hash();
  request["teacher_sha256"] = teacher.checkpoint().content_hash();
  return request;
}

TuneResult tune_model(std::shared_ptr<const ModelFiles> quantized,
                      std::shared_ptr<const ModelFiles> teacher, const TokenDataset& data,
                      const TuneOptions& options, WorkFolder& work, const fs::path& log,
                      const RunContext& context) {
  if (work.published()) return read_tune_result(work.out());
  if (data.validation.size(0) == 0) {
    throw UsageError("too little data to hold any out for validation: give at least 8 windows");
  }
  if (options.has_passes() && (data.validation.size(0) < 2 || data.train.size(0) < 2)) {
    throw UsageError(concat("the strategy ", options.strategy,
                            " judges its changes on held-out windows of its own: give more data"));
  }
  const OrderedJson data_facts = {{"sha256", data.hash},
                                  {"training_windows", data.train.size(0)},
                                  {"validation_windows", data.validation.size(0)},
                                  {"length", data.train.size(1)},
                                  {"chats", data.chats}};
  work.require("training_data", data_facts);
  // Settled once: a run goes on as it began, on another processor too.
  const auto dtype_name =
      work.settle("dtype", [&]() -> OrderedJson { return run_dtype(options); }).get<std::string>();
  const torch::Dtype dtype = compute_dtype(dtype_name);

  check_disk(*quantized, options, work.path());
  const int64_t vocab = teacher->plan().vocab_size;
  const TeacherCacheKey key = {.model_hash = work.request().at("teacher_sha256").get<std::string>(),
                               .data_hash = data.hash,
                               .dtype = dtype_name,
                               .top_k = std::min(options.teacher_top_k, vocab),
                               .temperature = options.loss.temperature};
  if (!options.teacher_cache.empty() && context.communicator->first())
    check_teacher_cache(options.teacher_cache, key, data.train, vocab);
  StateFiles files(work.path());
  StateMemory& memory = options.offload_optimizer ? files : StateMemory::plain();
  const auto teacher_model = Decoder::load(teacher, dtype);
  Student student(Decoder::load(quantized, dtype, options.embedding || options.head),
                  *teacher_model,
                  code_rule_factory(options.strategy, options.code_options(), options.seed, memory),
                  options.trained_parts(), memory, *context.communicator);
  return_freed_memory();  // of loading
  keep_freed_memory();
  const auto targets = training_teacher(*teacher_model, key, data, options, context);
  TuneResult result = train(student, *teacher_model, *targets, data, options, work.hash(),
                            work.path(), log, context);
  return_freed_memory();  // before files are mapped and written
  result.dtype = dtype_name;
  if (!context.communicator->first()) return result;

  // The result folder is written whole beside the state, then takes OUT's name.
  const fs::path& base_path = quantized->checkpoint().path();
  const fs::path finished = work.empty_folder("result");
  const SafetensorsFile tuned = open_safetensors(work.file("best.safetensors"));
  QuantizedCheckpointContent content;
  content.specs = quantized->specs();
  content.tensors = merged_tensors(quantized->checkpoint(), tuned);
  content.recipe = base_recipe(base_path);
  OrderedJson recipe = work.recipe();
  recipe["options"]["dtype"] = dtype_name;
  recipe["training_data"] = data_facts;
  if (!data.warnings.empty()) recipe["training_data"]["warnings"] = data.warnings;
  recipe["validation_kl_before"] = result.kl_before;
  recipe["validation_kl_after"] = result.kl_after;
  recipe["steps"] = result.steps;
  recipe["tokens"] = result.tokens;
  recipe["best_step"] = result.best_step;
  recipe["codes_changed"] = result.codes_changed;
  recipe["diverged"] = result.diverged;
  recipe["validations"] = OrderedJson::array();
  for (const Validation& v : result.validations)
    recipe["validations"].push_back(to_json(v, options.loss.loss));
  add_tune(content.recipe, std::move(recipe));
  content.model_card = tuned_model_card(base_path, options, result);
  write_quantized_checkpoint(finished, quantized->checkpoint(), content);
  work.publish(finished);
  return result;
}

}  // namespace bitsmith
