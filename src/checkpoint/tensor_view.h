// A tensor where it lies on disk: name, dtype, shape, bytes; no copy.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace bitsmith {

// F*, I*, U8, BOOL as in safetensors; Q* are GGUF blocks (ggml names, byte layout of ggml-quants).
enum class DType : uint8_t {
  F32,
  F16,
  BF16,
  F64,
  I8,
  U8,
  I16,
  I32,
  I64,
  BOOL,
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q8_0,
  Q2_K,
  Q3_K,
  Q4_K,
  Q5_K,
  Q6_K
};

const char* dtype_name(DType dtype);
bool holds_floats(DType dtype);  // whether decode_to_float() knows it

// `elements` consecutive values of a row are stored in `bytes` bytes: {1, 4} for F32, {32, 18} for
// Q4_0.
struct BlockLayout {
  int64_t elements;
  int64_t bytes;
};
BlockLayout block_layout(DType dtype);

struct TensorView {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;        // row-major; a matrix is [out_features, in_features]
  std::span<const std::byte> bytes;  // exactly byte_size(dtype, shape) long
};

// Product of the shape; throws Error on a negative size or overflow.
int64_t element_count(const std::vector<int64_t>& shape);
// Bytes of a tensor; throws Error on overflow or when the last dimension does not fill whole
// blocks.
int64_t byte_size(DType dtype, const std::vector<int64_t>& shape);
std::string shape_string(const std::vector<int64_t>& shape);  // "[576, 1536]", clipped when long

// Decodes out.size() values that begin at `bytes` (whole blocks) to float.
// F32, F16, BF16, F64 and every Q* type; another dtype is an Error.
void decode_to_float(DType dtype, std::span<const std::byte> bytes, std::span<float> out);

}  // namespace bitsmith
