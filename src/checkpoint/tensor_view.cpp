#include "checkpoint/tensor_view.h"

#include "base/error.h"

namespace bitsmith {
namespace {

struct DTypeInfo {
  const char* name;
  BlockLayout layout;
};

// In the order of DType. Block sizes: ggml-common.h.
constexpr DTypeInfo kDTypes[] = {
    {"F32", {1, 4}},      {"F16", {1, 2}},      {"BF16", {1, 2}},     {"F64", {1, 8}},
    {"I8", {1, 1}},       {"U8", {1, 1}},       {"I16", {1, 2}},      {"I32", {1, 4}},
    {"I64", {1, 8}},      {"BOOL", {1, 1}},     {"Q4_0", {32, 18}},   {"Q4_1", {32, 20}},
    {"Q5_0", {32, 22}},   {"Q5_1", {32, 24}},   {"Q8_0", {32, 34}},   {"Q2_K", {256, 84}},
    {"Q3_K", {256, 110}}, {"Q4_K", {256, 144}}, {"Q5_K", {256, 176}}, {"Q6_K", {256, 210}},
};
static_assert(std::size(kDTypes) == static_cast<size_t>(DType::Q6_K) + 1);

const DTypeInfo& info(DType dtype) { return kDTypes[static_cast<size_t>(dtype)]; }

}  // namespace

const char* dtype_name(DType dtype) { return info(dtype).name; }

bool holds_floats(DType dtype) { return dtype < DType::I8 || dtype > DType::BOOL; }

BlockLayout block_layout(DType dtype) { return info(dtype).layout; }

int64_t element_count(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    if (size < 0) throw Error(concat("the shape ", shape_string(shape), " has a negative size"));
    if (__builtin_mul_overflow(count, size, &count)) {
      throw Error(concat("the shape ", shape_string(shape), " is impossibly large"));
    }
  }
  return count;
}

int64_t byte_size(DType dtype, const std::vector<int64_t>& shape) {
  const BlockLayout layout = block_layout(dtype);
  const int64_t count = element_count(shape);
  const int64_t columns = shape.empty() ? 1 : shape.back();
  if (columns % layout.elements != 0) {
    throw Error(concat("the shape ", shape_string(shape), " does not fit ", dtype_name(dtype),
                       ": rows must be multiples of ", layout.elements, " values"));
  }
  int64_t bytes = 0;
  if (__builtin_mul_overflow(count / layout.elements, layout.bytes, &bytes)) {
    throw Error(concat("the shape ", shape_string(shape), " is impossibly large"));
  }
  return bytes;
}

std::string shape_string(const std::vector<int64_t>& shape) {
  constexpr size_t kMaxSizes = 16;  // a damaged file may claim any number
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i == kMaxSizes) return text + concat(", ... ", shape.size(), " sizes]");
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + "]";
}

}  // namespace bitsmith
