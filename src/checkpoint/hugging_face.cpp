// Hugging Face directories: config.json, generation_config.json, model.safetensors or a sharded
// index.
#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "checkpoint/readers.h"
#include "checkpoint/safetensors.h"

namespace bitsmith {
namespace {

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

class HuggingFaceCheckpoint : public Checkpoint {
 public:
  explicit HuggingFaceCheckpoint(const std::filesystem::path& folder);

 private:
  void open_shard(const std::string& name);
  void open_index(const std::filesystem::path& path);
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
  const auto config_path = folder / "config.json";
  if (!std::filesystem::exists(config_path)) fail_without_config(folder);
  config_json_ = read_json_file(config_path);
  config_ = parse_model_config(config_json_, config_path.string());

  const auto generation_path = folder / "generation_config.json";
  if (std::filesystem::exists(generation_path)) {
    const Json generation = read_json_file(generation_path);
    for (const int64_t id : token_ids(generation, "eos_token_id", generation_path.string())) {
      auto& ids = config_.eos_token_ids;
      if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
    }
  }

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
  const ExpectedNames expected(config_, config_json_.contains("quantization_config"));
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : weight_map) {
    if (std::filesystem::path(shard).filename() != shard) {
      throw Error(
          concat(path.string(), ": '", excerpt(shard), "' is not the name of a file beside it"));
    }
    if (expected.contains(tensor) || std::filesystem::exists(path_ / shard)) shards.insert(shard);
  }
  std::map<std::string, std::string> stored;  // tensor -> shard
  for (const std::string& shard : shards) {
    const size_t before = tensors_.size();
    open_shard(shard);
    for (size_t i = before; i < tensors_.size(); ++i) stored[tensors_[i].name] = shard;
  }
  for (const auto& [tensor, shard] : weight_map) {
    if (!expected.contains(tensor)) continue;
    const auto found = stored.find(tensor);
    if (found == stored.end() || found->second != shard) {
      throw Error(concat(path.string(), ": tensor '", excerpt(tensor), "' is not in ", shard,
                         " as the index says; the download may not be complete"));
    }
  }
}

// One matrix for embedding and head may be stored under either name or under both. Where both are
// there and differ, transformers 5 does not tie them, whatever config.json says.
void HuggingFaceCheckpoint::tie_embedding() {
  if (!config_.tie_word_embeddings) return;
  const auto named = [&](const char* name) {
    return std::find_if(tensors_.begin(), tensors_.end(),
                        [&](const TensorView& tensor) { return tensor.name == name; });
  };
  const auto embedding = named(kEmbedding), head = named(kHead);
  if (head == tensors_.end()) return;
  if (embedding == tensors_.end()) {
    head->name = kEmbedding;
  } else if (embedding->dtype == head->dtype && embedding->shape == head->shape &&
             std::equal(embedding->bytes.begin(), embedding->bytes.end(), head->bytes.begin())) {
    tensors_.erase(head);
  } else {
    log_warning(concat(path_.string(), ": config.json ties embedding and head, but the file has ",
                       "two different ones: they are not tied"));
    config_.tie_word_embeddings = false;
    config_json_["tie_word_embeddings"] = false;
  }
}

}  // namespace

std::shared_ptr<const Checkpoint> open_hugging_face(const std::filesystem::path& folder) {
  return std::make_shared<HuggingFaceCheckpoint>(folder);
}

}  // namespace bitsmith
