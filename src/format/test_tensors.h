// Quantized matrices for tests: random values in every part of any representation.
#pragma once
#include <algorithm>
#include <cstring>
#include <vector>

#include "base/half.h"
#include "base/random.h"
#include "format/quantized_tensor.h"

namespace bitsmith {

// As many values as the sum has, at rising columns of each row, about as large as other weights.
inline void fill_random_outliers(const QuantizedTensor& tensor, Random& random) {
  const int64_t count = tensor.term<SparseSpec>().count;
  SparseEntries entries;
  entries.row_starts.push_back(0);
  for (int64_t row = 0; row < tensor.out_features; ++row) {
    const int64_t end = count * (row + 1) / tensor.out_features;
    for (int64_t i = entries.row_starts.back(); i < end; ++i) {
      entries.columns.push_back(static_cast<int32_t>(i - entries.row_starts.back()));
      entries.values.push_back(static_cast<float>(random.normal()));
    }
    entries.row_starts.push_back(end);
  }
  write_sparse(tensor, entries);
}

// fp16 values normal with this deviation, codes and signs over their whole range. verify() holds.
inline QuantizedTensor random_tensor(const RepresentationSpec& spec, int64_t out_features,
                                     int64_t in_features, Random& random, double deviation = 0.1) {
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
    if (std::holds_alternative<SparseSpec>(term)) fill_random_outliers(tensor, random);
  }
  return tensor;
}

}  // namespace bitsmith
