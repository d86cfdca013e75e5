#include "format/kinds/rows.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "format/quantized_tensor.h"
#include "format/spec_fields.h"

namespace bitsmith {
namespace {

constexpr int64_t kMostRows = std::numeric_limits<int32_t>::max();

int32_t load_int32(std::span<const std::byte> bytes, int64_t index) {
  int32_t value;
  std::memcpy(&value, bytes.data() + 4 * index, 4);
  return value;
}

}  // namespace

RowsSpec RowsSpec::parse(SpecReader& text) {
  return {.count = text.number("number of rows", 1, kMostRows)};
}

std::string RowsSpec::text() const { return concat(kName, count); }

RowsSpec RowsSpec::from_json(const Json& fields, const std::string& source) {
  check_spec_keys(fields, {"kind", "count"}, source);
  return {.count = spec_field(fields, "count", 1, kMostRows, source)};
}

OrderedJson RowsSpec::to_json() const { return {{"kind", kName}, {"count", count}}; }

RowsSpec RowsSpec::resolved(int64_t out_features, int64_t, const std::string& where) const {
  if (out_features > kMostRows) {
    throw UsageError(
        concat("rows of a matrix", where, " with more than ", kMostRows, " rows cannot be kept"));
  }
  if (count > out_features) {
    throw UsageError(
        concat(count, " kept rows are more than the ", out_features, " rows of a matrix", where));
  }
  return *this;
}

std::vector<PartLayout> RowsSpec::parts(int64_t out_features, int64_t in_features,
                                        const std::string& where) const {
  const int64_t n = resolved(out_features, in_features, where).count;
  return {{"kept_rows", DType::I32, {n}}, {"kept_values", DType::F16, {n, in_features}}};
}

void RowsSpec::decode_rows(const QuantizedTensor& tensor, int64_t first, int64_t rows,
                           std::span<float> out) const {
  const std::vector<int64_t> kept = read_kept_rows(tensor);
  const auto values = tensor.part("kept_values").bytes;
  std::fill(out.begin(), out.end(), 0.0f);
  const auto begin = std::lower_bound(kept.begin(), kept.end(), first);
  for (auto row = begin; row != kept.end() && *row < first + rows; ++row) {
    const int64_t from = (row - kept.begin()) * tensor.in_features;
    const auto into = row_of(out, *row - first, tensor.in_features);
    for (int64_t i = 0; i < tensor.in_features; ++i) into[i] = load_fp16(values, from + i);
  }
}

void RowsSpec::fill_random(const QuantizedTensor& tensor, Random&) const {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < count; ++i) rows.push_back(i * tensor.out_features / count);
  write_kept_rows(tensor, rows);
}

void RowsSpec::check_values(const QuantizedTensor& tensor, const std::string& source) const {
  int64_t before = -1;
  for (const int64_t row : read_kept_rows(tensor)) {
    if (row <= before || row >= tensor.out_features) {
      throw Error(
          concat(source, ".kept_rows: row ", row, " after ", before, " of ", tensor.out_features));
    }
    before = row;
  }
}

std::vector<int64_t> read_kept_rows(const QuantizedTensor& tensor) {
  const TensorView& part = tensor.part("kept_rows");
  std::vector<int64_t> rows(static_cast<size_t>(part.shape[0]));
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i] = load_int32(part.bytes, static_cast<int64_t>(i));
  }
  return rows;
}

void write_kept_rows(const QuantizedTensor& tensor, std::span<const int64_t> rows) {
  const auto bytes = mutable_part(tensor, "kept_rows");
  BITSMITH_CHECK(bytes.size() == 4 * rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<int32_t>(rows[i]);
    std::memcpy(bytes.data() + 4 * i, &row, 4);
  }
}

}  // namespace bitsmith
