#include "compressor/representation/format_parts.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "compressor/parallel.h"
#include "format/bit_packing.h"

namespace bitsmith {
namespace {

constexpr int64_t kRowsPerTask = 64;

template <typename RowTask>
void each_row(int64_t rows, const RowTask& task) {
  parallel_tasks((rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t chunk) {
    const int64_t end = std::min(rows, (chunk + 1) * kRowsPerTask);
    for (int64_t row = chunk * kRowsPerTask; row < end; ++row) task(row);
  });
}

}  // namespace

torch::Tensor round_to_fp16(const torch::Tensor& values) {
  constexpr double kLargest = 65504;
  return values.clamp(-kLargest, kLargest).to(torch::kHalf).to(torch::kFloat);
}

torch::Tensor read_fp16_part(const QuantizedTensor& tensor, const std::string& name,
                             at::IntArrayRef shape) {
  const auto& bytes = tensor.part(name).bytes;
  auto half = torch::empty(shape, torch::kHalf);
  BITSMITH_CHECK(static_cast<size_t>(half.nbytes()) == bytes.size());
  std::memcpy(half.data_ptr(), bytes.data(), bytes.size());
  return half.to(torch::kFloat);
}

void write_fp16_part(const QuantizedTensor& tensor, const std::string& name,
                     const torch::Tensor& values) {
  const auto half = round_to_fp16(values.detach()).to(torch::kCPU, torch::kHalf).contiguous();
  const auto bytes = mutable_part(tensor, name);
  BITSMITH_CHECK(static_cast<size_t>(half.nbytes()) == bytes.size());
  std::memcpy(bytes.data(), half.const_data_ptr(), bytes.size());
}

torch::Tensor read_packed_part(const QuantizedTensor& tensor, const std::string& name,
                               int64_t count, int nbits) {
  auto codes = torch::empty({tensor.out_features, count}, torch::kInt);
  auto* data = codes.mutable_data_ptr<int32_t>();
  const auto bytes = tensor.part(name).bytes;
  const auto row_bytes = static_cast<size_t>(packed_row_bytes(count, nbits));
  std::vector<uint16_t> values(static_cast<size_t>(count));
  for (int64_t row = 0; row < tensor.out_features; ++row) {
    unpack_row(bytes.subspan(static_cast<size_t>(row) * row_bytes, row_bytes), nbits, values);
    std::copy(values.begin(), values.end(), data + row * count);
  }
  return codes;
}

void write_packed_part(const QuantizedTensor& tensor, const std::string& name,
                       const torch::Tensor& codes, int nbits) {
  const auto host = codes.to(torch::kCPU, torch::kInt).contiguous();
  const int64_t count = host.size(1);
  const auto* data = host.const_data_ptr<int32_t>();
  const auto bytes = mutable_part(tensor, name);
  const auto row_bytes = static_cast<size_t>(packed_row_bytes(count, nbits));
  for (int64_t row = 0; row < host.size(0); ++row) {
    const std::vector<uint16_t> values(data + row * count, data + (row + 1) * count);
    pack_row(values, nbits, bytes.subspan(static_cast<size_t>(row) * row_bytes, row_bytes));
  }
}

torch::Tensor read_codes(const QuantizedTensor& tensor) {
  const auto per_row = static_cast<int64_t>(row_codes(tensor, 0).size());
  auto codes = torch::empty({tensor.out_features, per_row}, torch::kInt);
  auto* data = codes.mutable_data_ptr<int32_t>();
  each_row(tensor.out_features, [&](int64_t row) {
    const auto values = row_codes(tensor, row);
    std::copy(values.begin(), values.end(), data + row * per_row);
  });
  return codes;
}

void write_codes(const QuantizedTensor& tensor, const torch::Tensor& codes) {
  const auto host = codes.to(torch::kCPU, torch::kInt).contiguous();
  const int64_t per_row = host.numel() / tensor.out_features;
  const auto* data = host.const_data_ptr<int32_t>();
  each_row(tensor.out_features, [&](int64_t row) {
    std::vector<uint16_t> values(static_cast<size_t>(per_row));
    std::copy_n(data + row * per_row, per_row, values.begin());
    set_row_codes(tensor, row, values);
  });
}

}  // namespace bitsmith
