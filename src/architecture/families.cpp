#include <algorithm>

#include "architecture/families/families.h"
#include "base/error.h"

namespace bitsmith {
namespace {

std::string known_models() {
  std::string text;
  for (const Family& family : families())
    text += concat(text.empty() ? "" : ", ", family.model_type, " (", family.models, ")");
  return text;
}

const Family* find_family(const std::string& model_type) {
  for (const Family& family : families())
    if (model_type == family.model_type) return &family;
  return nullptr;
}

// The cache of keys and values and the reader of GGUF files rely on it.
void check_same_heads(const ModelPlan& plan, const ConfigReader& reader) {
  const AttentionPlan& first = plan.blocks.front().attention;
  for (size_t b = 1; b < plan.blocks.size(); ++b) {
    const AttentionPlan& other = plan.blocks[b].attention;
    if (other.heads != first.heads || other.kv_heads != first.kv_heads ||
        other.head_dim != first.head_dim)
      reader.fail(concat("layer 0 has ", first.heads, " heads of ", first.head_dim, " values and ",
                         first.kv_heads, " key-value heads, layer ", b, " ", other.heads, " of ",
                         other.head_dim, " and ", other.kv_heads, ", which is not supported"));
  }
}

}  // namespace

const std::vector<Family>& families() {
  static const std::vector<Family> all = {kLlama,    kMistral, kMixtral, kQwen2,  kQwen3,
                                          kQwen3Moe, kPhi3,    kGemma2,  kGemma3, kOlmo2,
                                          kBloom,    kGpt2,    kOpt,     kGptNeox};
  return all;
}

const Family& family_of_config(const std::string& model_type, const std::string& source) {
  if (const Family* family = find_family(model_type)) return *family;
  throw Error(concat(source, ": the architecture '", excerpt(model_type),
                     "' is not supported; Bitsmith knows ", known_models()));
}

const Family& family_of_gguf(const GgufKeys& keys) {
  for (const Family& family : families()) {
    if (!family.gguf_architecture || keys.architecture() != family.gguf_architecture) continue;
    if (!family.claims_gguf || family.claims_gguf(keys)) return family;
  }
  const bool experts = keys.integer_or("expert_count", 0) > 0;
  throw Error(concat(keys.source(), ": the architecture '", excerpt(keys.architecture()),
                     experts ? "' with experts" : "'", " is not supported; Bitsmith knows ",
                     known_models()));
}

ModelPlan plan_model(const Json& config, const std::string& source) {
  const ConfigReader reader(config, source);
  const std::string model_type = json_get<std::string>(config, "model_type", source);
  if (!find_family(model_type) && reader.has("text_config"))
    reader.fail(concat("the architecture '", excerpt(model_type),
                       "' with a text_config is of text and images; only text models are read, as ",
                       "gemma3_text (Gemma 3 of 270M and 1B)"));
  ModelPlan plan = family_of_config(model_type, source).plan(reader);
  plan.model_type = model_type;
  check_same_heads(plan, reader);
  // Each size is possible by itself; sums over all tensors must stay in int64 too.
  constexpr double kMaxWeights = 1e15;
  double weights = 0;
  for (const PlannedTensor& tensor : planned_tensors(plan)) {
    double elements = 1;
    for (const int64_t size : tensor.shape) elements *= static_cast<double>(size);
    weights += elements;
  }
  if (weights > kMaxWeights)
    reader.fail(
        concat("a model of these sizes has ", weights, " weights, more than ", kMaxWeights));
  return plan;
}

}  // namespace bitsmith
