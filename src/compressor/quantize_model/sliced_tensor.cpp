#include "compressor/quantize_model/sliced_tensor.h"

#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"

namespace bitsmith {

SlicedTensor::SlicedTensor(const RepresentationSpec& spec, int64_t rows, int64_t columns)
    : whole_(allocate_quantized(spec, rows, columns)) {}

void SlicedTensor::append(const QuantizedTensor& slice, int64_t first) {
  if (kept_rows(slice.spec) > 0) {
    std::vector<int64_t> rows = read_kept_rows(slice);
    for (int64_t& row : rows) row += first;
    write_kept_rows(slice, rows);
  }
  for (const TensorView& part : slice.parts) {
    const auto into = mutable_part(whole_, part.name).subspan(filled_[part.name]);
    BITSMITH_CHECK(part.bytes.size() <= into.size());
    std::memcpy(into.data(), part.bytes.data(), part.bytes.size());
    filled_[part.name] += part.bytes.size();
  }
}

QuantizedTensor SlicedTensor::take() {
  for (const TensorView& part : whole_.parts)
    BITSMITH_CHECK(filled_[part.name] == part.bytes.size());
  return std::move(whole_);
}

}  // namespace bitsmith
