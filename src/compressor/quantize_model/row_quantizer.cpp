#include "compressor/quantize_model/row_quantizer.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/error.h"
#include "compressor/objective/objective.h"

namespace bitsmith {
namespace {

constexpr int64_t kSliceWeights = int64_t{1} << 22;

}  // namespace

void quantize_rows(const ModelFiles& files, const PlannedMatrix& matrix,
                   QuantizedModules& modules) {
  BITSMITH_CHECK(rows_stand_alone(matrix.spec));
  const torch::NoGradGuard no_grad;
  const auto start = std::chrono::steady_clock::now();
  const int64_t rows = matrix.shape.out_features, columns = matrix.shape.in_features;
  QuantizedTensor whole = allocate_quantized(matrix.spec, rows, columns);
  const int64_t slice = std::max<int64_t>(1, kSliceWeights / columns);
  double error = 0, total = 0;
  for (int64_t first = 0; first < rows; first += slice) {
    const int64_t count = std::min(slice, rows - first);
    const torch::Tensor weight = torch::empty({count, columns});
    files.checkpoint().read_rows(matrix.shape.name + ".weight", first, count,
                                 {weight.data_ptr<float>(), static_cast<size_t>(weight.numel())});
    QuantizeOptions nearest;
    nearest.method = Method::kRtn;
    QuantizedLinear linear;
    try {
      linear = quantize_linear(weight, {}, matrix.spec, nearest);
    } catch (const Error& e) {
      throw Error(
          concat(matrix.shape.name, ", rows ", first, "..", first + count - 1, ": ", e.what()));
    }
    error += Objective().error(weight - linear.representation->dequantize());
    total += Objective().error(weight);
    // Every part runs over rows first, and a row's codes begin on a byte: slices concatenate.
    for (const TensorView& part : linear.representation->to_format().parts) {
      const std::span<std::byte> target = mutable_part(whole, part.name);
      const size_t row_bytes = target.size() / rows;
      BITSMITH_CHECK(part.bytes.size() == row_bytes * count);
      std::memcpy(target.data() + first * row_bytes, part.bytes.data(), part.bytes.size());
    }
  }
  modules.linears.push_back(
      {matrix.shape.name,
       to_string(matrix.spec),
       method_name(matrix.method),
       total > 0 ? error / total : 0,
       bits_per_weight(matrix.spec, rows, columns),
       std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
       {},
       {},
       {}});
  modules.matrices[matrix.shape.name] = std::move(whole);
}

}  // namespace bitsmith
