#include "compressor/model/dense_tensor.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "base/error.h"

namespace bitsmith {
namespace {

constexpr int64_t kSliceElements = 1 << 19;  // at most: 2 MiB of float32 scratch a thread

// Rows come as float, any slice of `unit` rows or a multiple on any thread.
torch::Tensor from_rows(const std::vector<int64_t>& shape, torch::Dtype dtype,
                        const std::function<void(int64_t, int64_t, std::span<float>)>& read_rows,
                        int64_t unit = 1) {
  BITSMITH_CHECK(!shape.empty());
  const int64_t columns = shape.back();
  const int64_t rows = shape.size() == 1 ? 1 : element_count(shape) / columns;
  torch::Tensor result = torch::empty(shape, dtype);
  torch::Tensor matrix = result.view({rows, columns});
  const int64_t share = rows / (2 * at::get_num_threads());
  const int64_t wanted =
      std::clamp<int64_t>(share, 1, std::max<int64_t>(1, kSliceElements / columns));
  const int64_t slice = (wanted + unit - 1) / unit * unit;
  at::parallel_for(0, (rows + slice - 1) / slice, 1, [&](int64_t begin, int64_t end) {
    const at::NoGradGuard no_grad;
    for (int64_t s = begin; s < end; ++s) {
      const int64_t first = s * slice, count = std::min(slice, rows - first);
      torch::Tensor values = torch::empty({count, columns}, torch::kFloat32);
      read_rows(first, count, {values.data_ptr<float>(), static_cast<size_t>(count * columns)});
      matrix.slice(0, first, first + count).copy_(values);
    }
  });
  return result;
}

}  // namespace

torch::Dtype compute_dtype(const std::string& name) {
  if (name == "float32") return torch::kFloat32;
  if (name == "bfloat16") return torch::kBFloat16;
  throw UsageError(concat("unknown dtype '", name, "': choose float32 or bfloat16"));
}

torch::Tensor read_dense(const Checkpoint& checkpoint, const std::string& name,
                         torch::Dtype dtype) {
  torch::Tensor result = from_rows(checkpoint.at(name).shape, dtype,
                                   [&](int64_t first, int64_t count, std::span<float> out) {
                                     checkpoint.read_rows(name, first, count, out);
                                   });
  checkpoint.release(name);  // held once, not twice
  return result;
}

torch::Tensor read_matrix(const ModelFiles& files, const std::string& module, torch::Dtype dtype) {
  if (!files.spec(module)) return read_dense(files.checkpoint(), module + ".weight", dtype);
  return decode_matrix(files.quantized(module), dtype);
}

torch::Tensor decode_matrix(const QuantizedTensor& tensor, torch::Dtype dtype) {
  // Rows that a rotation mixes are decoded together.
  const int64_t unit = tensor.spec.transform ? tensor.spec.transform->rows_together() : 1;
  return from_rows(
      {tensor.out_features, tensor.in_features}, dtype,
      [&](int64_t first, int64_t count, std::span<float> out) {
        decode_rows(tensor, first, count, out);
      },
      unit);
}

}  // namespace bitsmith
