#include "compressor/quantize_model/dense_tensor_source.h"

#include <algorithm>

#include "base/error.h"
#include "compressor/model/dense_tensor.h"

namespace bitsmith {
namespace {

bool is_finite_as(const Checkpoint& base, const std::string& name, torch::Dtype dtype) {
  return torch::isfinite(read_dense(base, name, dtype)).all().item<bool>();
}

// F16 where all values fit, else BF16.
DType narrow_dtype(const Checkpoint& base, const std::string& name) {
  const TensorView& stored = base.at(name);
  if (stored.dtype != DType::BF16 && is_finite_as(base, name, torch::kHalf)) return DType::F16;
  if (is_finite_as(base, name, torch::kBFloat16)) return DType::BF16;
  throw Error(concat(base.file_of(stored).string(), ": tensor '", name,
                     "' holds NaN or infinity; the model is damaged"));
}

}  // namespace

TensorSource dense_tensor_source(const Checkpoint& base, const PlannedTensor& planned) {
  const std::string& name = planned.name;
  const TensorView stored = base.as_stored(base.at(name));
  const bool narrow = stored.dtype == DType::F16 || stored.dtype == DType::BF16;
  // A GGUF's layout is another than Hugging Face's for some tensors: read, never copied.
  if (narrow && !base.is_gguf()) {
    return {name, stored.dtype, stored.shape, [&base, name](const ByteSink& sink) {
              sink(base.at(name).bytes);
              base.release(name);
            }};
  }
  const bool transposed = planned.stored == StoredAs::kTransposed;
  std::vector<int64_t> shape = planned.shape;
  if (transposed) std::reverse(shape.begin(), shape.end());
  const DType dtype = narrow_dtype(base, name);
  return {name, dtype, shape, [&base, name, dtype, transposed](const ByteSink& sink) {
            torch::Tensor values =
                read_dense(base, name, dtype == DType::BF16 ? torch::kBFloat16 : torch::kHalf);
            if (transposed) values = values.t().contiguous();
            sink({static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()});
          }};
}

}  // namespace bitsmith
