#include "compressor/representation/representation.h"

#include "compressor/representation/kinds.h"

namespace bitsmith {

torch::Tensor Representation::forward(const torch::Tensor& x) const {
  return torch::matmul(x, dequantize().to(x.scalar_type()).t());
}

void Representation::assign_codes(const torch::Tensor& groups, const torch::Tensor& codes) {
  const torch::NoGradGuard no_grad;
  auto live = this->codes();
  if (groups.defined()) {
    live.index_copy_(0, groups, codes);
  } else {
    live.copy_(codes);
  }
}

std::unique_ptr<Representation> representation_from_format(const QuantizedTensor& tensor) {
  return std::visit([&](const auto& spec) { return make_representation(spec, tensor); },
                    tensor.spec);
}

}  // namespace bitsmith
