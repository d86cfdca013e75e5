#include "architecture/weight_check.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"

namespace bitsmith {
namespace {

constexpr float kLargestSquared = 1e18f;
constexpr float kLargestHalf = 65504.0f, kSmallestHalf = 0x1p-14f;
constexpr int64_t kChunkValues = int64_t{1} << 18;

// What a part of a tensor holds: its largest magnitude, and the first place of a value beyond the
// limit.
struct Finding {
  float largest = 0;
  std::optional<int64_t> bad;
};

Finding look(std::span<const float> values, float limit) {
  Finding finding;
  for (const float value : values) finding.largest = std::max(finding.largest, std::abs(value));
  // max() passes NaN by.
  const auto bad = std::find_if(values.begin(), values.end(),
                                [&](float value) { return !(std::abs(value) <= limit); });
  if (bad != values.end()) finding.bad = bad - values.begin();
  return finding;
}

// "[3, 14]" for the value with this place in row-major order.
std::string index_string(const std::vector<int64_t>& shape, int64_t place) {
  std::vector<int64_t> index(shape.size());
  for (size_t d = shape.size(); d-- > 0;) {
    index[d] = place % shape[d];
    place /= shape[d];
  }
  return shape_string(index);
}

std::string describe(float value) {
  return std::isnan(value) ? "NaN" : std::isinf(value) ? "infinity" : concat(value);
}

void check_tensor(const Checkpoint& checkpoint, const TensorView& tensor, bool quantized,
                  ThreadPool& pool) {
  const int64_t columns = tensor.shape.empty() ? 1 : tensor.shape.back();
  const int64_t rows = columns == 0 ? 0 : element_count(tensor.shape) / columns;
  const int64_t at_once = std::max<int64_t>(1, kChunkValues / std::max<int64_t>(1, columns));
  const int64_t chunks = (rows + at_once - 1) / at_once;
  const float limit = quantized ? kLargestHalf : kLargestSquared;
  std::vector<Finding> findings(static_cast<size_t>(chunks));
  const auto values_of = [&](int64_t chunk) {
    const int64_t count = std::min(at_once, rows - chunk * at_once);
    std::vector<float> values(static_cast<size_t>(count * columns));
    checkpoint.read_rows(tensor.name, chunk * at_once, count, values);
    return values;
  };
  pool.run(chunks, [&](int64_t chunk) {
    findings[static_cast<size_t>(chunk)] = look(values_of(chunk), limit);
  });
  const std::string where =
      concat(checkpoint.file_of(tensor).string(), ": tensor '", tensor.name, "'");
  float largest = 0;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const Finding& finding = findings[static_cast<size_t>(chunk)];
    largest = std::max(largest, finding.largest);
    if (!finding.bad) continue;
    const float value = values_of(chunk)[static_cast<size_t>(*finding.bad)];
    const bool finite = std::isfinite(value);
    throw Error(concat(where, " has ", describe(value), " at ",
                       index_string(tensor.shape, chunk * at_once * columns + *finding.bad),
                       !finite ? ": the model is damaged, or was damaged by a conversion"
                       : quantized
                           ? ", beyond the range of 16-bit scales (65504): keep this matrix dense"
                           : ": arithmetic in float32 overflows"));
  }
  if (quantized && largest > 0 && largest < kSmallestHalf) {
    throw Error(concat(where, " has no value above ", largest,
                       ": 16-bit scales cannot hold numbers so small (6.1e-05 at least); keep ",
                       "this matrix dense"));
  }
}

}  // namespace

void check_weights(const Checkpoint& checkpoint, const RunContext& context,
                   const std::function<bool(const std::string&)>& to_be_quantized) {
  ThreadPool pool(context.threads);
  for (const PlannedTensor& planned : planned_tensors(checkpoint.plan())) {
    const std::string& name = planned.name;
    if (context.cancelled())
      throw Interrupted("stopped before any work; the same command starts anew");
    const TensorView* tensor = checkpoint.find(name);  // none where the matrix is quantized
    if (!tensor || !holds_floats(tensor->dtype)) continue;
    check_tensor(checkpoint, *tensor, to_be_quantized(name), pool);
    checkpoint.release(name);
  }
}

}  // namespace bitsmith
