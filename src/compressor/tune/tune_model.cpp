#include "compressor/tune/tune_model.h"

#include <chrono>
#include <cstdio>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "checkpoint/safetensors.h"
#include "compressor/tune/trainer.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

void check_same_model(const ModelConfig& a, const ModelConfig& b, const fs::path& path) {
  if (a.vocab_size != b.vocab_size || a.hidden_size != b.hidden_size ||
      a.num_hidden_layers != b.num_hidden_layers || a.intermediate_size != b.intermediate_size) {
    throw UsageError(concat("the teacher ", path.string(), " is not the model that was quantised: ",
                            b.num_hidden_layers, " layers of ", b.hidden_size, " with ",
                            b.vocab_size, " tokens against ", a.num_hidden_layers, " of ",
                            a.hidden_size, " with ", a.vocab_size));
  }
}

// Bytes that a run takes at its peak: both models, gradients, moments, activations of a
// micro-batch.
uint64_t predicted_memory(const ModelConfig& c, const TuneOptions& options) {
  const uint64_t block =
      c.hidden_size * (2 * c.q_size() + 2 * c.kv_size() + 3 * c.intermediate_size);
  const uint64_t decoder = block * c.num_hidden_layers;
  const uint64_t element = options.dtype == "float32" ? 4 : 2;
  const uint64_t weights = 2 * element * (decoder + c.vocab_size * c.hidden_size);
  const uint64_t optimiser =
      decoder * (4 + (options.strategy == Strategy::kPv ? 4 : 0) + element + 1);
  const uint64_t activations = options.micro_tokens * c.num_hidden_layers * element *
                               (9 * c.hidden_size + 5 * c.intermediate_size);
  return weights + optimiser + activations + (uint64_t{400} << 20);
}

// Which of the two this processor multiplies faster.
torch::Dtype faster_dtype() {
  constexpr int64_t kSize = 1024;
  const auto seconds = [](torch::Dtype dtype) {
    const auto x = torch::ones({kSize, kSize}, dtype), w = torch::ones({kSize, kSize}, dtype);
    double best = 1e9;
    for (int repeat = 0; repeat < 6; ++repeat) {
      const auto start = std::chrono::steady_clock::now();
      at::linear(x, w);
      best = std::min(
          best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return best;
  };
  const torch::NoGradGuard no_grad;
  return seconds(torch::kBFloat16) < 0.75 * seconds(torch::kFloat32) ? torch::kBFloat16
                                                                     : torch::kFloat32;
}

torch::Dtype named_dtype(const std::string& name) {
  if (name == "bfloat16") return torch::kBFloat16;
  if (name == "float32") return torch::kFloat32;
  throw UsageError(concat("unknown dtype '", name, "': choose auto, float32 or bfloat16"));
}

// The dtype of a run is settled once: a resumed run does not measure again.
std::string settled_dtype(const std::string& asked, const fs::path& work) {
  if (asked != "auto") return asked;
  const fs::path plan = work / "plan.json";
  if (fs::exists(plan)) return json_get<std::string>(read_json_file(plan), "dtype", plan.string());
  const std::string dtype = faster_dtype() == torch::kBFloat16 ? "bfloat16" : "float32";
  write_json_file(plan, {{"dtype", dtype}});
  return dtype;
}

OrderedJson options_json(const TuneOptions& o, const std::string& dtype) {
  return {{"strategy", strategy_name(o.strategy)},
          {"tokens", o.tokens},
          {"minutes", o.minutes},
          {"batch_tokens", o.batch_tokens},
          {"micro_tokens", o.micro_tokens},
          {"learning_rate", o.learning_rate},
          {"final_rate", o.final_rate},
          {"code_step", o.v.step},
          {"trust_ratio", o.v.trust_ratio},
          {"code_momentum", o.code_momentum},
          {"v_interval", o.v_interval},
          {"v_start", o.v_start},
          {"betas", {o.adam.beta1, o.adam.beta2}},
          {"dtype", dtype},
          {"seed", o.seed}};
}

// The quantised directory's tensors with the tuned ones in place of theirs.
std::vector<TensorSource> merged_tensors(const Checkpoint& base, const SafetensorsFile& tuned) {
  std::vector<TensorSource> tensors;
  for (const TensorView& tensor : base.tensors()) {
    const TensorView* better = tuned.find(tensor.name);
    tensors.push_back(better != nullptr ? *better : tensor);
  }
  return tensors;
}

std::string tuned_model_card(const fs::path& base, const TuneOptions& options,
                             const TuneResult& result) {
  const fs::path path = base / "README.md";
  std::string card = fs::exists(path) ? read_text_file(path) : "# Quantised by Bitsmith\n";
  char text[400];
  std::snprintf(text, sizeof(text),
                "\n## Tuned\n\nPV-Tuning, strategy `%s`: %ld tokens against the original model. KL "
                "divergence on "
                "held-out text %.4f before, %.4f after (nats a token).\n",
                strategy_name(options.strategy), static_cast<long>(result.tokens), result.kl_before,
                result.kl_after);
  return card + text;
}

}  // namespace

TuneResult tune_model(std::shared_ptr<const ModelFiles> quantised,
                      std::shared_ptr<const ModelFiles> teacher, const TokenDataset& data,
                      const TuneOptions& options, const fs::path& out, bool force,
                      OrderedJson recipe) {
  check_same_model(quantised->config(), teacher->config(), teacher->checkpoint().path());
  if (!quantised->is_quantized()) {
    throw UsageError(quantised->checkpoint().path().string() +
                     " is not quantised: run bitsmith quantize first");
  }
  if (data.validation.size(0) == 0) {
    throw UsageError("too little data to hold any out for validation: give at least 8 windows");
  }
  check_output(out, force);
  const uint64_t memory = predicted_memory(quantised->config(), options),
                 free = available_memory_bytes();
  log_info(concat("tuning needs about ", format_bytes(static_cast<double>(memory)), " of memory; ",
                  format_bytes(static_cast<double>(free)), " are available"));
  if (memory > free) {
    throw Error(concat("tuning needs about ", format_bytes(static_cast<double>(memory)),
                       " of memory and ", format_bytes(static_cast<double>(free)),
                       " are free: lower --micro-tokens"));
  }

  if (options.dtype != "auto") named_dtype(options.dtype);
  QuantizedCheckpointContent content;
  const fs::path& base_path = quantised->checkpoint().path();
  if (const fs::path file = base_path / "bitsmith.json"; fs::exists(file)) {
    content.recipe = parse_ordered_json(read_text_file(file), file.string());
    if (!content.recipe.is_object()) throw Error(file.string() + ": not a JSON object");
  }
  const fs::path work = out.string() + ".partial";
  fs::create_directories(work);
  const std::string dtype_name = settled_dtype(options.dtype, work);
  const torch::Dtype dtype = named_dtype(dtype_name);
  recipe["options"] = options_json(options, dtype_name);
  recipe["quantised_sha256"] = quantised->checkpoint().content_hash();
  recipe["teacher_sha256"] = teacher->checkpoint().content_hash();
  recipe["data_sha256"] = data.hash;
  const std::string hash = sha256(recipe.dump());

  const auto teacher_model = Decoder::load(teacher, dtype);
  Student student(Decoder::load(quantised, dtype), *teacher_model);
  TuneResult result =
      train(student, *teacher_model, data, options, hash, work, out.string() + ".tune.jsonl");
  result.dtype = dtype_name;

  // The result folder is written whole beside the state, then takes OUT's name.
  const fs::path finished = work / "result";
  fs::remove_all(finished);
  fs::create_directories(finished);
  const SafetensorsFile tuned = open_safetensors(work / "best.safetensors");
  content.specs = quantised->specs();
  content.tensors = merged_tensors(quantised->checkpoint(), tuned);
  recipe["validation_kl_before"] = result.kl_before;
  recipe["validation_kl_after"] = result.kl_after;
  recipe["best_step"] = result.best_step;
  content.recipe["tune"] = recipe;
  content.model_card = tuned_model_card(base_path, options, result);
  write_quantized_checkpoint(finished, quantised->checkpoint(), content);
  publish_folder(finished, out, force);
  fs::remove_all(work);
  return result;
}

}  // namespace bitsmith
