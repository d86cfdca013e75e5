// A GGUF model as a Checkpoint: its keys become a Hugging Face configuration, and the plan of that
// configuration says which tensor is which and in what order its rows lie. Names and keys:
// gguf-py's constants.py and tensor_mapping.py; layouts: convert_hf_to_gguf.py.
#include <algorithm>
#include <map>

#include "architecture/gguf_config.h"
#include "architecture/readers.h"
#include "base/error.h"
#include "checkpoint/gguf.h"

namespace bitsmith {
namespace {

// What the configuration was read from, and is no tensor of the model.
constexpr const char* kRopeTensors[] = {"rope_freqs.weight", "rope_factors_long.weight",
                                        "rope_factors_short.weight"};

class GgufCheckpoint : public Checkpoint {
 public:
  explicit GgufCheckpoint(const std::filesystem::path& path);
  const GgufFile* gguf() const override { return &gguf_; }

 private:
  void drop_repeated_head();
  void add_tensors(const GgufKeys& keys);

  GgufFile gguf_;
};

GgufCheckpoint::GgufCheckpoint(const std::filesystem::path& path) {
  path_ = path;
  is_gguf_ = true;
  gguf_ = open_gguf(path);
  files_.push_back(gguf_.file);
  file_bytes_ = gguf_.file->bytes().size();
  const std::string source = path.string();
  if (json_get_or<int64_t>(gguf_.keys, "split.count", 1, source) > 1) {
    throw Error(source +
                ": one part of a split GGUF model; join the parts first "
                "(llama-gguf-split --merge)");
  }
  drop_repeated_head();
  const GgufKeys keys(gguf_, source);
  config_json_ = config_from_gguf(keys, family_of_gguf(keys));
  plan_ = plan_model(config_json_, source);
  // A family's default is config.json's alone. Families with layer norms have read theirs.
  if (plan_.final_norm.kind != NormPlan::Kind::kLayer)
    keys.real("attention.layer_norm_rms_epsilon");
  add_tensors(keys);
  build_index();
}

// GGUF says that a head is tied by leaving it out. A head that repeats the embedding, as in files
// of GPT-2 and BLOOM, is tied too: the model is the same with one matrix for both.
void GgufCheckpoint::drop_repeated_head() {
  const auto named = [&](const char* name) {
    return std::find_if(gguf_.tensors.begin(), gguf_.tensors.end(),
                        [&](const TensorView& tensor) { return tensor.name == name; });
  };
  const auto embedding = named("token_embd.weight"), head = named("output.weight");
  if (embedding == gguf_.tensors.end() || head == gguf_.tensors.end()) return;
  if (same_contents(*embedding, *head)) gguf_.tensors.erase(head);
}

// One part of a stack of matrices [count, out, in].
TensorView part_of_stack(const TensorView& stack, int64_t index, int64_t count) {
  TensorView part = stack;
  part.shape.erase(part.shape.begin());
  const auto bytes = stack.bytes.size() / static_cast<size_t>(count);
  part.bytes = stack.bytes.subspan(static_cast<size_t>(index) * bytes, bytes);
  return part;
}

void GgufCheckpoint::add_tensors(const GgufKeys& keys) {
  const std::vector<PlannedTensor> all = planned_tensors(plan_);
  std::multimap<std::string, const PlannedTensor*> planned;  // by GGUF's name
  for (const PlannedTensor& tensor : all)
    if (!tensor.gguf.empty()) planned.insert({tensor.gguf, &tensor});
  for (const TensorView& tensor : gguf_.tensors) {
    if (std::find(std::begin(kRopeTensors), std::end(kRopeTensors), tensor.name) !=
        std::end(kRopeTensors))
      continue;
    const auto [first, last] = planned.equal_range(tensor.name);
    if (first == last) {
      throw Error(concat(path_.string(), ": the tensor '", excerpt(tensor.name),
                         "' is not part of a ", keys.architecture(), " model that Bitsmith knows"));
    }
    const auto count = static_cast<int64_t>(std::distance(first, last));
    for (auto entry = first; entry != last; ++entry) {
      const PlannedTensor& wanted = *entry->second;
      if (wanted.gguf_index >= 0 && (tensor.shape.size() != 3 || tensor.shape[0] != count)) {
        throw Error(concat(path_.string(), ": tensor '", tensor.name, "' has the shape ",
                           shape_string(tensor.shape), ", expected ", count, " matrices"));
      }
      tensors_.push_back(wanted.gguf_index >= 0 ? part_of_stack(tensor, wanted.gguf_index, count)
                                                : tensor);
      tensors_.back().name = wanted.name;
      if (wanted.gguf_stored != StoredAs::kPlain) stored_as_[wanted.name] = wanted.gguf_stored;
    }
  }
}

}  // namespace

std::shared_ptr<const Checkpoint> open_gguf_model(const std::filesystem::path& path) {
  return std::make_shared<GgufCheckpoint>(path);
}

}  // namespace bitsmith
