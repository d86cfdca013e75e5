// bitsmith inspect MODEL: what a model is, without reading its weights.
#include <cstdio>
#include <map>
#include <memory>

#include "apps/bitsmith/commands.h"
#include "apps/command.h"
#include "architecture/checkpoint.h"
#include "architecture/model_config.h"
#include "architecture/model_size.h"
#include "base/error.h"
#include "base/log.h"
#include "checkpoint/gguf.h"
#include "checkpoint/model_texts.h"
#include "format/quantization_config.h"

namespace bitsmith {
namespace {

struct InspectOptions {
  CommonOptions common;
  std::string model;
  bool tensors = false;
};

std::string tokenizer_kind(const ModelTexts& texts) {
  if (texts.has("tokenizer.json")) {
    const std::string source = texts.described("tokenizer.json");
    const Json tokenizer = texts.read_json("tokenizer.json");
    const Json model = json_get_or<Json>(tokenizer, "model", Json::object(), source);
    return "tokenizer.json " +
           excerpt(json_get_or<std::string>(model, "type", "of unknown type", source));
  }
  return texts.has("tokenizer.model") ? "SentencePiece" : "none";
}

std::string tokenizer_kind(const Checkpoint& checkpoint) {
  const GgufFile* const gguf = checkpoint.gguf();
  if (!gguf) return tokenizer_kind(ModelTexts(checkpoint.path()));
  const std::string source = checkpoint.path().string();
  const auto model = json_get_or<std::string>(gguf->keys, "tokenizer.ggml.model", "none", source);
  const auto pre = json_get_or<std::string>(gguf->keys, "tokenizer.ggml.pre", "", source);
  return "GGUF " + excerpt(model) + (pre.empty() ? "" : " (" + excerpt(pre) + ")");
}

// Of a model that another program quantized, nothing.
std::map<std::string, int64_t> representations(const Json& config, const ModelPlan& plan) {
  try {
    return representation_counts(parse_quantization_config(config, plan, "config.json"), plan);
  } catch (const Error&) {
    return {};
  }
}

// Counts and bytes of the tensors of one type.
struct TypeTotal {
  int64_t count = 0, bytes = 0;
};

std::map<std::string, TypeTotal> type_totals(const std::vector<TensorView>& tensors) {
  std::map<std::string, TypeTotal> totals;
  for (const TensorView& tensor : tensors) {
    TypeTotal& total = totals[dtype_name(tensor.dtype)];
    ++total.count;
    total.bytes += static_cast<int64_t>(tensor.bytes.size());
  }
  return totals;
}

// Of the last block that has any; null without.
const ExpertsPlan* experts(const ModelPlan& plan) {
  const ExpertsPlan* found = nullptr;
  for (const BlockPlan& block : plan.blocks)
    if (block.experts) found = &*block.experts;
  return found;
}

OrderedJson describe_plan(const ModelPlan& plan, const char* format) {
  const AttentionPlan& attention = plan.blocks.front().attention;
  OrderedJson result;
  result["model_type"] = plan.model_type;
  result["format"] = format;
  result["layers"] = plan.num_blocks();
  result["hidden_size"] = plan.hidden_size;
  result["intermediate_size"] = mlp_width(plan.blocks.front());
  if (const ExpertsPlan* found = experts(plan)) {
    result["experts"] = found->experts.size();
    result["experts_per_token"] = found->experts_per_token;
  }
  result["attention_heads"] = attention.heads;
  result["key_value_heads"] = attention.kv_heads;
  result["head_dim"] = attention.head_dim;
  result["vocab_size"] = plan.vocab_size;
  result["context"] = plan.context;
  result["tied_embeddings"] = plan.tied;
  return result;
}

void describe_tensors(const std::vector<TensorView>& tensors, bool each, OrderedJson& result) {
  for (const auto& [type, total] : type_totals(tensors)) {
    result["types"][type] = {{"tensors", total.count}, {"bytes", total.bytes}};
  }
  if (!each) return;
  result["tensors"] = OrderedJson::array();
  for (const TensorView& tensor : tensors) {
    result["tensors"].push_back({{"name", tensor.name},
                                 {"type", dtype_name(tensor.dtype)},
                                 {"shape", tensor.shape},
                                 {"bytes", tensor.bytes.size()}});
  }
}

void describe_quantization(const Json& config, const ModelPlan& plan, OrderedJson& result) {
  if (!config.contains("quantization_config")) return;
  result["quantization_config"] = config.at("quantization_config");
  result["representations"] = representations(config, plan);
}

OrderedJson describe(const Checkpoint& checkpoint, bool with_tensors) {
  const ModelPlan& plan = checkpoint.plan();
  const ModelSize size = model_size(plan, checkpoint.tensors());
  OrderedJson result = describe_plan(plan, checkpoint.is_gguf() ? "gguf" : "safetensors");
  result["tokenizer"] = tokenizer_kind(checkpoint);
  result["parameters"] = size.parameters;
  result["decoder_weights"] = size.decoder_weights;
  result["bits"] = size.decoder_bits();
  result["embedding_bits"] = size.outer_bits();
  result["file_bits"] = size.file_bits();
  result["file_bytes"] = checkpoint.file_bytes();
  describe_quantization(checkpoint.config_json(), plan, result);
  if (const auto ignored = checkpoint.ignored_tensors(); !ignored.empty()) {
    result["ignored_tensors"] = ignored;
  }
  describe_tensors(checkpoint.tensors(), with_tensors, result);
  return result;
}

OrderedJson describe(const PackedFile& file, const ModelTexts& texts, const ModelConfig& config,
                     bool with_tensors) {
  OrderedJson result = describe_plan(config.plan, "packed");
  result["tokenizer"] = tokenizer_kind(texts);
  result["packed"] = file.about();
  result["file_bytes"] = file.bytes().size();
  describe_quantization(config.json, config.plan, result);
  describe_tensors(file.arrays(), with_tensors, result);
  return result;
}

// "134.5 M", "13016 M", "30880".
std::string millions(int64_t count) {
  if (count < 1'000'000) return std::to_string(count);
  const double value = static_cast<double>(count) * 1e-6;
  return format(value < 9999.5 ? "%.4g M" : "%.0f M", value);
}

// The quantization_config in short: its scalar settings, and how many entries the others have.
std::string quantization_summary(const OrderedJson& config) {
  std::string text;
  for (const auto& [key, value] : config.items()) {
    const std::string shown = value.is_structured() ? concat(value.size(), " entries")
                              : value.is_string()   ? excerpt(value.get<std::string>())
                                                    : value.dump();
    text += (text.empty() ? "" : ", ") + excerpt(key) + " " + shown;
  }
  return text;
}

std::string row(const char* name, const std::string& value) {
  return format("%-14s ", name) + value + "\n";
}

std::string plan_rows(const ModelPlan& c, const OrderedJson& facts) {
  const AttentionPlan& attention = c.blocks.front().attention;
  std::string text =
      row("architecture",
          concat(c.model_type, ", ", c.num_blocks(), " layers, hidden ", c.hidden_size, ", inner ",
                 mlp_width(c.blocks.front()), ", ", attention.heads, " heads of ",
                 attention.head_dim, ", ", attention.kv_heads, " for keys and values"));
  if (const ExpertsPlan* plan = experts(c))
    text += row("experts",
                concat(plan->experts.size(), ", of which a token uses ", plan->experts_per_token));
  text += row("vocabulary", concat(c.vocab_size, " tokens, embedding ",
                                   c.tied ? "tied to the head" : "and head apart"));
  text += row("context", concat(c.context, " tokens"));
  text += row("tokenizer", facts["tokenizer"].get<std::string>());
  return text;
}

std::string type_row(const std::vector<TensorView>& tensors) {
  std::string types;
  for (const auto& [type, total] : type_totals(tensors)) {
    types += concat(types.empty() ? "" : ", ", total.count, " ", type, " (",
                    format_bytes(static_cast<double>(total.bytes)), ")");
  }
  return row("tensors", types);
}

std::string file_row(uint64_t bytes) {
  return row("file", concat(bytes, " bytes (", format_bytes(static_cast<double>(bytes)), ")"));
}

std::string quantization_rows(const OrderedJson& facts) {
  if (!facts.contains("quantization_config")) return "";
  std::string text = row("quantization", quantization_summary(facts["quantization_config"]));
  std::string names;
  for (const auto& [name, count] : facts["representations"].items()) {
    names += concat(names.empty() ? "" : ", ", count.get<int64_t>(), " ", name);
  }
  if (!names.empty()) text += row("matrices", names);
  return text;
}

std::string summary(const Checkpoint& checkpoint, const OrderedJson& facts) {
  const ModelPlan& c = checkpoint.plan();
  const ModelSize size = model_size(c, checkpoint.tensors());
  std::string text = row("model", checkpoint.path().string()) + plan_rows(c, facts);
  text +=
      row("parameters", concat(millions(size.parameters), ", of them ",
                               millions(size.decoder_weights), " in the blocks' linear layers"));
  text += type_row(checkpoint.tensors());
  if (const std::string ignored = ignored_tensors_line(checkpoint); !ignored.empty()) {
    text += row("", ignored);
  }
  text +=
      row("true bits", format("%.3f a weight in the blocks, %.3f in %s, %.3f in the whole file",
                              size.decoder_bits(), size.outer_bits(),
                              c.tied ? "the embedding" : "embedding and head", size.file_bits()));
  return text + file_row(checkpoint.file_bytes()) + quantization_rows(facts);
}

std::string summary(const PackedFile& file, const ModelConfig& config, const OrderedJson& facts) {
  const std::string& source = file.source();
  return row("model", source) + plan_rows(config.plan, facts) + type_row(file.arrays()) +
         row("packed",
             "for the kernels of " + excerpt(json_get<std::string>(file.about(), "isa", source))) +
         file_row(file.bytes().size()) + quantization_rows(facts);
}

std::string tensor_table(const std::vector<TensorView>& tensors) {
  size_t width = 4;
  for (const TensorView& tensor : tensors) {
    width = std::max(width, excerpt(tensor.name).size());
  }
  std::string text = "\n";
  for (const TensorView& tensor : tensors) {
    const std::string name = excerpt(tensor.name);
    text += name + std::string(width + 2 - name.size(), ' ') +
            format("%-5s %-16s %12zu bytes\n", dtype_name(tensor.dtype),
                   shape_string(tensor.shape).c_str(), tensor.bytes.size());
  }
  return text;
}

void inspect_packed(const InspectOptions& options) {
  const auto file = PackedFile::open(options.model);
  const ModelTexts texts(file);
  const ModelConfig config = read_model_config(texts);
  const OrderedJson facts = describe(*file, texts, config, options.tensors);
  print_result(
      options.common, facts,
      summary(*file, config, facts) + (options.tensors ? tensor_table(file->arrays()) : ""));
}

void inspect(const InspectOptions& options) {
  if (PackedFile::recognizes(options.model)) return inspect_packed(options);
  const auto checkpoint = Checkpoint::open(options.model);
  const OrderedJson facts = describe(*checkpoint, options.tensors);
  print_result(
      options.common, facts,
      summary(*checkpoint, facts) + (options.tensors ? tensor_table(checkpoint->tensors()) : ""));
}

}  // namespace

void add_inspect(CLI::App& app) {
  const auto options = std::make_shared<InspectOptions>();
  CLI::App* command =
      app.add_subcommand("inspect", "Architecture, tensors, types and true bits of a model");
  command
      ->add_option("MODEL", options->model,
                   "Hugging Face directory, GGUF file, Bitsmith directory or packed model")
      ->required();
  command->add_flag("--tensors", options->tensors, "List every tensor");
  add_common_options(*command, options->common);
  command->callback([options] { inspect(*options); });
}

}  // namespace bitsmith
