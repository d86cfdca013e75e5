#include "format/kinds/low_rank.h"

#include <algorithm>

#include "base/error.h"
#include "format/quantized_tensor.h"
#include "format/spec_fields.h"

namespace bitsmith {
namespace {

constexpr int64_t kLargestRank = 4096;

}  // namespace

LowRankSpec LowRankSpec::parse(SpecReader& text) {
  return {.rank = static_cast<int>(text.number("rank", 1, kLargestRank))};
}

std::string LowRankSpec::text() const { return concat(kName, rank); }

LowRankSpec LowRankSpec::from_json(const Json& fields, const std::string& source) {
  check_spec_keys(fields, {"kind", "rank"}, source);
  return {.rank = static_cast<int>(spec_field(fields, "rank", 1, kLargestRank, source))};
}

OrderedJson LowRankSpec::to_json() const { return {{"kind", kName}, {"rank", rank}}; }

LowRankSpec LowRankSpec::resolved(int64_t out_features, int64_t in_features,
                                  const std::string& where) const {
  if (rank >= std::min(out_features, in_features)) {
    throw UsageError(concat("rank ", rank, " is not less than the sides of a matrix", where, " of ",
                            out_features, " x ", in_features));
  }
  return *this;
}

std::vector<PartLayout> LowRankSpec::parts(int64_t out_features, int64_t in_features,
                                           const std::string& where) const {
  resolved(out_features, in_features, where);
  return {{"low_rank_left", DType::F16, {out_features, rank}},
          {"low_rank_right", DType::F16, {rank, in_features}}};
}

void LowRankSpec::decode_rows(const QuantizedTensor& tensor, int64_t first, int64_t count,
                              std::span<float> out) const {
  const auto left = tensor.part("low_rank_left").bytes;
  const auto right = tensor.part("low_rank_right");
  std::vector<float> factor(static_cast<size_t>(rank * tensor.in_features));
  decode_to_float(right.dtype, right.bytes, factor);
  std::fill(out.begin(), out.end(), 0.0f);
  for (int64_t row = 0; row < count; ++row) {
    const auto into = row_of(out, row, tensor.in_features);
    for (int64_t k = 0; k < rank; ++k) {
      const float weight = load_fp16(left, (first + row) * rank + k);
      const float* values = factor.data() + k * tensor.in_features;
      for (int64_t i = 0; i < tensor.in_features; ++i) into[i] += weight * values[i];
    }
  }
}

}  // namespace bitsmith
