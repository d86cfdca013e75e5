#include "compressor/quantize_model/dense_tensor_source.h"

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

TensorSource dense_tensor_source(const Checkpoint& base, const std::string& name) {
  const TensorView& stored = base.at(name);
  const bool narrow = stored.dtype == DType::F16 || stored.dtype == DType::BF16;
  if (narrow && !base.is_gguf() && base.stored_as(name) == StoredAs::kPlain) {
    return {name, stored.dtype, stored.shape, [&base, name](const ByteSink& sink) {
              sink(base.at(name).bytes);
              base.release(name);
            }};
  }
  const DType dtype = narrow_dtype(base, name);
  return {name, dtype, stored.shape, [&base, name, dtype](const ByteSink& sink) {
            const torch::Tensor values =
                read_dense(base, name, dtype == DType::BF16 ? torch::kBFloat16 : torch::kHalf);
            sink({static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()});
          }};
}

}  // namespace bitsmith
