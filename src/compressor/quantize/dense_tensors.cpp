#include "compressor/quantize/dense_tensors.h"

#include "base/error.h"
#include "compressor/model/dense_tensor.h"

namespace bitsmith {

TensorView DenseTensors::view(const std::string& name) {
  const TensorView& stored = base_.at(name);
  const bool narrow = stored.dtype == DType::F16 || stored.dtype == DType::BF16;
  // The rows of a GGUF's q and k lie in another order than Hugging Face's: read, never copied.
  if (narrow && !base_.is_gguf()) return stored;
  DType dtype = stored.dtype == DType::BF16 ? DType::BF16 : DType::F16;
  torch::Tensor values =
      read_dense(base_, name, dtype == DType::BF16 ? torch::kBFloat16 : torch::kHalf);
  if (dtype == DType::F16 && !torch::isfinite(values).all().item<bool>()) {
    dtype = DType::BF16;
    values = read_dense(base_, name, torch::kBFloat16);
  }
  if (!torch::isfinite(values).all().item<bool>())
    throw Error(concat(base_.file_of(stored).string(), ": tensor '", name,
                       "' holds NaN or infinity; the model is damaged"));
  converted_.push_back(values);
  return {name,
          dtype,
          stored.shape,
          {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()}};
}

}  // namespace bitsmith
