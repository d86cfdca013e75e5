#include "compressor/representation/representation.h"

#include "base/error.h"
#include "compressor/representation/additive_representation.h"
#include "compressor/representation/grouped_representation.h"
#include "compressor/representation/uniform_representation.h"

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
  if (std::holds_alternative<UniformSpec>(tensor.spec)) {
    return UniformRepresentation::from_format(tensor);
  }
  if (std::holds_alternative<GroupedSpec>(tensor.spec)) {
    return GroupedRepresentation::from_format(tensor);
  }
  BITSMITH_CHECK(std::holds_alternative<AdditiveSpec>(tensor.spec));
  return AdditiveRepresentation::from_format(tensor);
}

}  // namespace bitsmith
