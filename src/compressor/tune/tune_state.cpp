#include "compressor/tune/tune_state.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "checkpoint/safetensors.h"

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

std::vector<Validation> read_validations(const std::string& text) {
  std::vector<Validation> validations;
  const char* at = text.c_str();
  while (*at != '\0') {
    char* next = nullptr;
    Validation v;
    v.step = std::strtoll(at, &next, 10);
    v.tokens = std::strtoll(next, &next, 10);
    v.training_loss = std::strtod(next, &next);
    v.kl = std::strtod(next, &next);
    if (*next != ' ' || next == at) throw Error("the validations of a tuning state are damaged");
    validations.push_back(v);
    at = next + 1;
  }
  return validations;
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
  std::vector<TensorView> views;
  student.visit_state([&](const std::string& name, torch::Tensor& tensor) {
    if (tensor.defined()) views.push_back(view(name, tensor));
  });
  write_safetensors(path, views,
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
                     {"training_kl_sum", exact(progress.training_loss_sum)}});
}

bool load_tune_state(const std::filesystem::path& path, Student& student, TuneProgress& progress) {
  if (!std::filesystem::exists(path)) return false;
  const auto file = open_safetensors(path);
  const auto request = file.metadata.find("request_hash");
  if (request == file.metadata.end() || request->second != progress.request_hash) {
    throw Error(
        concat(path.parent_path().string(),
               " holds another tuning run (other model, data or options): finish it with its own "
               "command, delete it, or choose another output"));
  }
  const auto text = [&](const std::string& key) {
    const auto found = file.metadata.find(key);
    if (found == file.metadata.end())
      throw Error(concat(path.string(), ": '", key, "' is missing"));
    return found->second;
  };
  progress.step = std::strtoll(text("step").c_str(), nullptr, 10);
  progress.elapsed_seconds = std::strtod(text("elapsed_seconds").c_str(), nullptr);
  progress.best_kl = std::strtod(text("best_kl").c_str(), nullptr);
  progress.first_kl = std::strtod(text("first_kl").c_str(), nullptr);
  progress.best_step = std::strtoll(text("best_step").c_str(), nullptr, 10);
  progress.changed = std::strtoll(text("changed").c_str(), nullptr, 10);
  progress.last_validation = std::strtod(text("last_validation").c_str(), nullptr);
  progress.validated_step = std::strtoll(text("validated_step").c_str(), nullptr, 10);
  progress.validations = read_validations(text("validations"));
  progress.training_loss_sum = std::strtod(text("training_kl_sum").c_str(), nullptr);
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
