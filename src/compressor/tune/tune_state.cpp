#include "compressor/tune/tune_state.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>

#include "base/error.h"
#include "base/json.h"
#include "checkpoint/safetensors.h"
#include "compressor/tensor_bytes.h"

namespace bitsmith {
namespace {

DType file_dtype(const torch::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case torch::kFloat32:
      return DType::F32;
    case torch::kBFloat16:
      return DType::BF16;
    case torch::kHalf:
      return DType::F16;
    case torch::kInt32:
      return DType::I32;
    case torch::kUInt8:
      return DType::U8;
    default:
      BITSMITH_CHECK(false);
  }
  return DType::F32;
}

TensorView view(const std::string& name, const torch::Tensor& tensor) {
  BITSMITH_CHECK(tensor.is_contiguous());
  return {name,
          file_dtype(tensor),
          tensor.sizes().vec(),
          {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}};
}

std::string exact(double value) {
  char text[40];
  std::snprintf(text, sizeof(text), "%a", value);
  return text;
}

// A validation after another: "step tokens training_loss kl ".
std::string validations_text(const std::vector<Validation>& validations) {
  std::string text;
  for (const Validation& v : validations)
    text += concat(v.step, " ", v.tokens, " ", exact(v.training_loss), " ", exact(v.kl), " ");
  return text;
}

// What the metadata of a state file say. Error names file and key.
class StateFacts {
 public:
  StateFacts(const std::filesystem::path& path, const SafetensorsFile& file)
      : path_(path), metadata_(file.metadata) {}

  std::string text(const std::string& key) const {
    const auto found = metadata_.find(key);
    if (found == metadata_.end()) throw Error(concat(path_.string(), ": '", key, "' is missing"));
    return found->second;
  }
  int64_t count(const std::string& key) const { return count_in(text(key), key); }
  double number(const std::string& key) const { return number_in(text(key), key); }
  std::vector<Validation> validations(const std::string& key) const {
    std::vector<Validation> all;
    std::istringstream words(text(key));
    for (std::string step; words >> step;) {
      std::string tokens, loss, kl;
      words >> tokens >> loss >> kl;
      all.push_back({.step = count_in(step, key),
                     .tokens = count_in(tokens, key),
                     .training_loss = number_in(loss, key),
                     .kl = number_in(kl, key)});
    }
    return all;
  }

 private:
  Error damaged(const std::string& word, const std::string& key) const {
    return Error(concat(path_.string(), ": '", key, "' is damaged: ", excerpt(word)));
  }
  int64_t count_in(const std::string& word, const std::string& key) const {
    int64_t count = -1;
    const char* end = word.data() + word.size();
    const auto [rest, error] = std::from_chars(word.data(), end, count);
    if (error != std::errc() || rest != end || count < 0) throw damaged(word, key);
    return count;
  }
  double number_in(const std::string& word, const std::string& key) const {
    char* rest = nullptr;
    const double number = std::strtod(word.c_str(), &rest);
    if (word.empty() || *rest != '\0') throw damaged(word, key);
    return number;
  }

  const std::filesystem::path& path_;
  const std::map<std::string, std::string>& metadata_;
};

// The states of other ranks, tensor by tensor: number i of a rank's list is its message with tag i.
std::string list_of(const std::vector<TensorView>& tensors) {
  OrderedJson list = OrderedJson::array();
  for (const TensorView& tensor : tensors)
    list.push_back({tensor.name, static_cast<int>(tensor.dtype), tensor.shape});
  return list.dump();
}

void send_tensors(Communicator& ranks, const std::vector<TensorView>& tensors) {
  std::vector<std::unique_ptr<Transfer>> sent;
  for (size_t i = 0; i < tensors.size(); ++i)
    sent.push_back(ranks.send(tensors[i].bytes, 0, static_cast<int>(i)));
  for (const auto& transfer : sent) transfer->wait();
}

void add_sources(Communicator& ranks, int from, const std::string& list,
                 std::vector<TensorSource>& all) {
  int tag = 0;
  for (const OrderedJson& tensor : parse_ordered_json(list, "another rank's state")) {
    const auto dtype = static_cast<DType>(tensor.at(1).get<int>());
    const auto shape = tensor.at(2).get<std::vector<int64_t>>();
    const auto size = static_cast<size_t>(byte_size(dtype, shape));
    all.emplace_back(tensor.at(0).get<std::string>(), dtype, shape,
                     [&ranks, from, tag, size](const ByteSink& sink) {
                       std::vector<std::byte> bytes(size);
                       ranks.receive(bytes, from, tag)->wait();
                       sink(bytes);
                     });
    ++tag;
  }
}

torch::Dtype torch_dtype(DType dtype, const std::string& source) {
  switch (dtype) {
    case DType::F32:
      return torch::kFloat32;
    case DType::BF16:
      return torch::kBFloat16;
    case DType::F16:
      return torch::kHalf;
    case DType::I32:
      return torch::kInt32;
    case DType::U8:
      return torch::kUInt8;
    default:
      throw Error(concat(source, ": unexpected dtype ", dtype_name(dtype)));
  }
}

}  // namespace

void save_tune_state(const std::filesystem::path& path, Student& student,
                     const TuneProgress& progress) {
  Communicator& ranks = student.communicator();
  std::vector<TensorView> own;
  const auto add = [&](const std::string& name, torch::Tensor& tensor) {
    if (tensor.defined()) own.push_back(view(name, tensor));
  };
  if (ranks.first()) student.visit_values(add);
  student.visit_own_state(add);
  const std::vector<std::string> lists = ranks.gather_texts(list_of(own));
  if (!ranks.first()) {
    send_tensors(ranks, own);
    return ranks.barrier();
  }
  std::vector<TensorSource> all(own.begin(), own.end());
  for (int from = 1; from < ranks.size(); ++from)
    add_sources(ranks, from, lists[static_cast<size_t>(from)], all);
  write_safetensors_from(path, all,
                         {{"request_hash", progress.request_hash},
                          {"step", std::to_string(progress.step)},
                          {"elapsed_seconds", exact(progress.elapsed_seconds)},
                          {"best_kl", exact(progress.best_kl)},
                          {"first_kl", exact(progress.first_kl)},
                          {"best_step", std::to_string(progress.best_step)},
                          {"changed", std::to_string(progress.changed)},
                          {"last_validation", exact(progress.last_validation)},
                          {"validated_step", std::to_string(progress.validated_step)},
                          {"validations", validations_text(progress.validations)},
                          {"training_kl_sum", exact(progress.training_loss_sum)},
                          {"passes", std::to_string(progress.passes)},
                          {"pass_blocks", std::to_string(progress.pass_blocks)},
                          {"validated_passes", std::to_string(progress.validated_passes)}});
  ranks.barrier();
}

bool load_tune_state(const std::filesystem::path& path, Student& student, TuneProgress& progress) {
  Communicator& ranks = student.communicator();
  if (!ranks.broadcast_value(ranks.first() && std::filesystem::exists(path))) return false;
  if (!std::filesystem::exists(path))
    throw Error(concat(path.string(), " is not there on this machine: the output's folder must be ",
                       "one that all machines share"));
  const auto file = open_safetensors(path);
  const auto request = file.metadata.find("request_hash");
  if (request == file.metadata.end() || request->second != progress.request_hash) {
    throw Error(
        concat(path.parent_path().string(),
               " holds another tuning run (other model, data or options): finish it with its own "
               "command, delete it, or choose another output"));
  }
  const StateFacts facts(path, file);
  progress.step = facts.count("step");
  progress.elapsed_seconds = facts.number("elapsed_seconds");
  progress.best_kl = facts.number("best_kl");
  progress.first_kl = facts.number("first_kl");
  progress.best_step = facts.count("best_step");
  progress.changed = facts.count("changed");
  progress.last_validation = facts.number("last_validation");
  progress.validated_step = facts.count("validated_step");
  progress.validations = facts.validations("validations");
  progress.training_loss_sum = facts.number("training_kl_sum");
  progress.passes = facts.count("passes");
  progress.pass_blocks = facts.count("pass_blocks");
  progress.validated_passes = facts.count("validated_passes");
  const torch::NoGradGuard no_grad;
  student.visit_state([&](const std::string& name, torch::Tensor& tensor) {
    const TensorView* stored = file.find(name);
    if (stored == nullptr) {
      if (tensor.defined()) throw Error(concat(path.string(), ": tensor ", name, " is missing"));
      return;
    }
    const auto dtype = torch_dtype(stored->dtype, path.string());
    if (!tensor.defined()) tensor = student.new_state(stored->shape, dtype);
    if (tensor.sizes() != at::IntArrayRef(stored->shape) || tensor.scalar_type() != dtype) {
      throw Error(concat(path.string(), ": tensor ", name, " has shape ",
                         shape_string(stored->shape), ", expected ",
                         shape_string(tensor.sizes().vec())));
    }
    std::memcpy(tensor.data_ptr(), stored->bytes.data(), stored->bytes.size());
  });
  student.refresh();
  return true;
}

void save_student_tensors(const std::filesystem::path& path, Student& student) {
  std::vector<TensorView> views;
  std::vector<QuantizedTensor> quantized;
  std::vector<torch::Tensor> norms;
  for (auto& tuned : student.linears()) {
    quantized.push_back(tuned.representation().to_format());
    for (const TensorView& part : named_parts(quantized.back(), tuned.linear->name)) {
      views.push_back(part);
    }
  }
  for (auto& norm : student.norms()) {
    norms.push_back(norm.value.to(torch::kHalf).contiguous());
    views.push_back(view(norm.name, norms.back()));
  }
  write_safetensors(path, views);
}

}  // namespace bitsmith
