// Hugging Face directories: config.json, generation_config.json, model.safetensors or a sharded
// index.
#include <algorithm>
#include <set>

#include "architecture/family.h"
#include "architecture/model_config.h"
#include "architecture/readers.h"
#include "base/error.h"
#include "base/log.h"
#include "checkpoint/safetensors.h"

namespace bitsmith {
namespace {

class HuggingFaceCheckpoint : public Checkpoint {
 public:
  explicit HuggingFaceCheckpoint(const std::filesystem::path& folder);

 private:
  void open_shard(const std::string& name);
  void open_index(const std::filesystem::path& path);
  void name_as_planned();
  void tie_embedding();
};

[[noreturn]] void fail_without_config(const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".gguf") {
      throw Error(concat(folder.string(), " has no config.json; for its GGUF model name the file: ",
                         entry.path().string()));
    }
  }
  throw Error(concat(folder.string(), " has no config.json: it is not a Hugging Face model"));
}

HuggingFaceCheckpoint::HuggingFaceCheckpoint(const std::filesystem::path& folder) {
  path_ = folder;
  const ModelTexts texts(folder);
  if (!texts.has("config.json")) fail_without_config(folder);
  ModelConfig config = read_model_config(texts);
  config_json_ = std::move(config.json);
  plan_ = std::move(config.plan);

  const auto index_path = folder / "model.safetensors.index.json";
  if (std::filesystem::exists(folder / "model.safetensors")) {
    open_shard("model.safetensors");
  } else if (std::filesystem::exists(index_path)) {
    open_index(index_path);
  } else {
    throw Error(concat(folder.string(), " has neither model.safetensors nor ",
                       "model.safetensors.index.json; weights in other formats (.bin, .pth) must ",
                       "be saved as safetensors first"));
  }
  name_as_planned();
  tie_embedding();
  build_index();
}

void HuggingFaceCheckpoint::open_shard(const std::string& name) {
  SafetensorsFile shard = open_safetensors(path_ / name);
  file_bytes_ += shard.file->bytes().size();
  files_.push_back(shard.file);
  tensors_.insert(tensors_.end(), shard.tensors.begin(), shard.tensors.end());
}

void HuggingFaceCheckpoint::open_index(const std::filesystem::path& path) {
  const auto weight_map = json_get<std::map<std::string, std::string>>(read_json_file(path),
                                                                       "weight_map", path.string());
  // Indices name more than the model uses, and more than was published.
  const ExpectedNames names(plan_, config_json_.contains("quantization_config"));
  const std::string prefix = family_of_config(plan_.model_type, path.string()).optional_prefix;
  const auto expected = [&](const std::string& tensor) {
    return names.contains(tensor) || (!prefix.empty() && names.contains(prefix + tensor));
  };
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : weight_map) {
    if (std::filesystem::path(shard).filename() != shard) {
      throw Error(
          concat(path.string(), ": '", excerpt(shard), "' is not the name of a file beside it"));
    }
    if (expected(tensor) || std::filesystem::exists(path_ / shard)) shards.insert(shard);
  }
  std::map<std::string, std::string> stored;  // tensor -> shard
  for (const std::string& shard : shards) {
    const size_t before = tensors_.size();
    open_shard(shard);
    for (size_t i = before; i < tensors_.size(); ++i) stored[tensors_[i].name] = shard;
  }
  for (const auto& [tensor, shard] : weight_map) {
    if (!expected(tensor)) continue;
    const auto found = stored.find(tensor);
    if (found == stored.end() || found->second != shard) {
      throw Error(concat(path.string(), ": tensor '", excerpt(tensor), "' is not in ", shard,
                         " as the index says; the download may not be complete"));
    }
  }
}

// Names without the family's prefix get it, and transposed matrices the plan's shape.
void HuggingFaceCheckpoint::name_as_planned() {
  std::map<std::string, const PlannedTensor*> planned;
  const std::vector<PlannedTensor> all = planned_tensors(plan_);
  for (const PlannedTensor& tensor : all) planned[tensor.name] = &tensor;
  const std::string prefix = family_of_config(plan_.model_type, path_.string()).optional_prefix;
  for (TensorView& tensor : tensors_) {
    if (!prefix.empty() && !planned.contains(tensor.name) && planned.contains(prefix + tensor.name))
      tensor.name = prefix + tensor.name;
    const auto found = planned.find(tensor.name);
    if (found == planned.end() || found->second->stored == StoredAs::kPlain) continue;
    stored_as_[tensor.name] = found->second->stored;
    if (found->second->stored == StoredAs::kTransposed)
      std::reverse(tensor.shape.begin(), tensor.shape.end());
  }
}

// One matrix for embedding and head may be stored under either name or under both. Where both are
// there and differ, transformers 5 does not tie them, whatever config.json says.
void HuggingFaceCheckpoint::tie_embedding() {
  if (!plan_.tied) return;
  const std::string embedding_name = plan_.embedding.name + ".weight";
  const std::string head_name = plan_.head.name + ".weight";
  const auto named = [&](const std::string& name) {
    return std::find_if(tensors_.begin(), tensors_.end(),
                        [&](const TensorView& tensor) { return tensor.name == name; });
  };
  const auto embedding = named(embedding_name), head = named(head_name);
  if (head == tensors_.end()) return;
  if (embedding == tensors_.end()) {
    head->name = embedding_name;
  } else if (same_contents(*embedding, *head)) {
    tensors_.erase(head);
  } else {
    log_warning(concat(path_.string(), ": config.json ties embedding and head, but the file has ",
                       "two different ones: they are not tied"));
    plan_.tied = false;
    config_json_["tie_word_embeddings"] = false;
  }
}

}  // namespace

std::shared_ptr<const Checkpoint> open_hugging_face(const std::filesystem::path& folder) {
  return std::make_shared<HuggingFaceCheckpoint>(folder);
}

}  // namespace bitsmith
