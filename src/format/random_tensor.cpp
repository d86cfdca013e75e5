#include "format/random_tensor.h"

#include <cstring>

#include "base/half.h"

namespace bitsmith {

QuantizedTensor random_tensor(const RepresentationSpec& spec, int64_t out_features,
                              int64_t in_features, Random& random, double deviation) {
  const QuantizedTensor tensor = allocate_quantized(spec, out_features, in_features);
  for (const TensorView& part : tensor.parts) {
    const auto bytes = mutable_part(tensor, part.name);
    if (part.dtype != DType::F16) {
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(256));
      continue;
    }
    for (size_t i = 0; i < bytes.size(); i += 2) {
      const uint16_t value = float_to_fp16(static_cast<float>(deviation * random.normal()));
      std::memcpy(&bytes[i], &value, 2);
    }
  }
  for (const TermSpec& term : tensor.spec.terms) {
    std::visit(
        [&](const auto& s) {
          // Where not every value is one that a file may hold.
          if constexpr (requires { s.fill_random(tensor, random); }) s.fill_random(tensor, random);
        },
        term);
  }
  return tensor;
}

}  // namespace bitsmith
