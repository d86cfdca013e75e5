#include "architecture/gguf_keys.h"

#include <charconv>

namespace bitsmith {
double shortest_decimal(double value) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof(text), static_cast<float>(value)).ptr;
  double result = value;
  std::from_chars(text, end, result);
  return result;
}

GgufKeys::GgufKeys(const GgufFile& gguf, const std::string& source)
    : gguf_(gguf),
      source_(source),
      architecture_(json_get<std::string>(gguf.keys, "general.architecture", source)) {}

bool GgufKeys::has(const std::string& name) const { return gguf_.keys.contains(full(name)); }

int64_t GgufKeys::integer(const std::string& name) const {
  return json_get<int64_t>(gguf_.keys, full(name), source_);
}

int64_t GgufKeys::integer_or(const std::string& name, int64_t fallback) const {
  return json_get_or<int64_t>(gguf_.keys, full(name), fallback, source_);
}

bool GgufKeys::flag_or(const std::string& name, bool fallback) const {
  return json_get_or<bool>(gguf_.keys, full(name), fallback, source_);
}

std::string GgufKeys::text_or(const std::string& name, const std::string& fallback) const {
  return json_get_or<std::string>(gguf_.keys, full(name), fallback, source_);
}

std::vector<bool> GgufKeys::flags(const std::string& name) const {
  std::vector<bool> result;
  const auto found = gguf_.arrays.find(full(name));
  if (found == gguf_.arrays.end()) return result;
  found->second.each_flag(concat(source_, ": '", full(name), "'"),
                          [&](bool value) { result.push_back(value); });
  return result;
}

double GgufKeys::real(const std::string& name) const {
  return shortest_decimal(json_get<double>(gguf_.keys, full(name), source_));
}

double GgufKeys::real_or(const std::string& name, double fallback) const {
  return has(name) ? real(name) : fallback;
}

int64_t GgufKeys::token(const std::string& which) const {
  return json_get_or<int64_t>(gguf_.keys, concat("tokenizer.ggml.", which, "_token_id"), -1,
                              source_);
}

const TensorView* GgufKeys::tensor(const std::string& name) const {
  for (const TensorView& tensor : gguf_.tensors)
    if (tensor.name == name) return &tensor;
  return nullptr;
}

}  // namespace bitsmith
