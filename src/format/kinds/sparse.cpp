#include "format/kinds/sparse.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "base/random.h"
#include "format/bit_packing.h"
#include "format/quantized_tensor.h"
#include "format/spec_fields.h"

namespace bitsmith {
namespace {

constexpr int kLargestShare = 1600;
constexpr int64_t kLargestCount = int64_t{1} << 40;
constexpr int64_t kWidestRow = 65535;  // counts and columns of at most 16 bits

// Bits of a row's count, 0..in_features, and of a column, 0..in_features - 1.
int count_bits(int64_t in_features) { return std::bit_width(static_cast<uint64_t>(in_features)); }
int column_bits(int64_t in_features) {
  return std::max<int>(1, std::bit_width(static_cast<uint64_t>(in_features - 1)));
}

int64_t count_of(int share, int64_t out_features, int64_t in_features) {
  const double weights = static_cast<double>(out_features) * static_cast<double>(in_features);
  return std::max<int64_t>(1, std::llround(weights * share / 10000));
}

}  // namespace

SparseSpec SparseSpec::parse(SpecReader& text) {
  SparseSpec spec;
  const int64_t hundredths = text.hundredths("percent of outliers", kLargestCount / 100);
  if (text.take("w")) {
    if (hundredths % 100 != 0 || hundredths == 0) text.fail("weights are counted in whole numbers");
    spec.share = 0;
    spec.count = hundredths / 100;
    return spec;
  }
  text.expect("%");
  if (hundredths < 1 || hundredths > kLargestShare) {
    text.fail("the share of outliers is outside 0.01..16 percent");
  }
  spec.share = static_cast<int>(hundredths);
  return spec;
}

std::string SparseSpec::text() const {
  if (count > 0) return concat(kName, count, "w");
  return concat(kName, decimal_text(share), "%");
}

SparseSpec SparseSpec::from_json(const Json& fields, const std::string& source) {
  check_spec_keys(fields, {"kind", "count"}, source);
  SparseSpec spec;
  spec.share = 0;
  spec.count = spec_field(fields, "count", 1, kLargestCount, source);
  return spec;
}

OrderedJson SparseSpec::to_json() const { return {{"kind", kName}, {"count", count}}; }

SparseSpec SparseSpec::resolved(int64_t out_features, int64_t in_features,
                                const std::string& where) const {
  SparseSpec spec;
  spec.share = 0;
  spec.count = count > 0 ? count : count_of(share, out_features, in_features);
  if (in_features > kWidestRow) {
    throw UsageError(
        concat("outliers need rows of at most ", kWidestRow, " inputs, not ", in_features, where));
  }
  if (spec.count > out_features * in_features) {
    throw UsageError(concat(spec.count, " outliers are more than the ", out_features, " x ",
                            in_features, " weights", where));
  }
  return spec;
}

SparseSpec SparseSpec::shortened(int64_t out_features, int64_t in_features) const {
  if (count == 0) return *this;
  const double weights = static_cast<double>(out_features) * static_cast<double>(in_features);
  const double share = static_cast<double>(count) * 10000 / weights;
  for (const int step : {100, 10, 1}) {  // the roundest share that gives this count
    const double rounded = std::round(share / step) * step;
    SparseSpec spec{.share = static_cast<int>(std::clamp<double>(rounded, 1, kLargestShare))};
    if (count_of(spec.share, out_features, in_features) == count) return spec;
  }
  return *this;
}

std::vector<PartLayout> SparseSpec::parts(int64_t out_features, int64_t in_features,
                                          const std::string& where) const {
  const int64_t n = resolved(out_features, in_features, where).count;
  return {{"outlier_counts", DType::U8, {packed_row_bytes(out_features, count_bits(in_features))}},
          {"outlier_columns", DType::U8, {packed_row_bytes(n, column_bits(in_features))}},
          {"outlier_values", DType::F16, {n}}};
}

void SparseSpec::decode_rows(const QuantizedTensor& tensor, int64_t first, int64_t rows,
                             std::span<float> out) const {
  const auto counts = tensor.part("outlier_counts").bytes;
  const auto columns = tensor.part("outlier_columns").bytes;
  const auto values = tensor.part("outlier_values").bytes;
  const int row_bits = count_bits(tensor.in_features), bits = column_bits(tensor.in_features);
  std::fill(out.begin(), out.end(), 0.0f);
  int64_t at = 0;
  for (int64_t row = 0; row < first; ++row) at += packed_code(counts, row_bits, row);
  for (int64_t row = 0; row < rows; ++row) {
    const auto into = row_of(out, row, tensor.in_features);
    for (int64_t left = packed_code(counts, row_bits, first + row); left > 0; --left, ++at) {
      into[packed_code(columns, bits, at)] = load_fp16(values, at);
    }
  }
}

// Counts that sum up to the values; columns inside the row, rising.
void SparseSpec::fill_random(const QuantizedTensor& tensor, Random& random) const {
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

void SparseSpec::check_values(const QuantizedTensor& tensor, const std::string& source) const {
  const auto counts = tensor.part("outlier_counts").bytes;
  const auto columns = tensor.part("outlier_columns").bytes;
  const int row_bits = count_bits(tensor.in_features), bits = column_bits(tensor.in_features);
  const int64_t stored = tensor.part("outlier_values").shape[0];
  int64_t at = 0;
  for (int64_t row = 0; row < tensor.out_features; ++row) {
    const int64_t end = at + packed_code(counts, row_bits, row);
    if (end > stored) break;
    for (int64_t before = -1; at < end; ++at) {
      const int64_t column = packed_code(columns, bits, at);
      if (column <= before || column >= tensor.in_features) {
        throw Error(concat(source, ".outlier_columns: row ", row, " has column ", column, " after ",
                           before, " of ", tensor.in_features));
      }
      before = column;
    }
    if (row + 1 == tensor.out_features && at == stored) return;
  }
  throw Error(concat(source, ".outlier_counts do not sum up to the ", stored, " values"));
}

SparseEntries read_sparse(const QuantizedTensor& tensor) {
  const auto counts = tensor.part("outlier_counts").bytes;
  const auto columns = tensor.part("outlier_columns").bytes;
  const auto values = tensor.part("outlier_values").bytes;
  const int64_t stored = tensor.part("outlier_values").shape[0];
  SparseEntries entries;
  entries.row_starts.push_back(0);
  for (int64_t row = 0; row < tensor.out_features; ++row) {
    entries.row_starts.push_back(entries.row_starts.back() +
                                 packed_code(counts, count_bits(tensor.in_features), row));
  }
  for (int64_t i = 0; i < stored; ++i) {
    entries.columns.push_back(packed_code(columns, column_bits(tensor.in_features), i));
    entries.values.push_back(load_fp16(values, i));
  }
  return entries;
}

void write_sparse(const QuantizedTensor& tensor, const SparseEntries& entries) {
  const auto stored = static_cast<int64_t>(entries.values.size());
  BITSMITH_CHECK(stored == tensor.part("outlier_values").shape[0]);
  BITSMITH_CHECK(static_cast<int64_t>(entries.row_starts.size()) == tensor.out_features + 1);
  std::vector<uint16_t> counts, columns(entries.columns.begin(), entries.columns.end());
  for (size_t row = 0; row + 1 < entries.row_starts.size(); ++row) {
    counts.push_back(static_cast<uint16_t>(entries.row_starts[row + 1] - entries.row_starts[row]));
  }
  pack_row(counts, count_bits(tensor.in_features), mutable_part(tensor, "outlier_counts"));
  pack_row(columns, column_bits(tensor.in_features), mutable_part(tensor, "outlier_columns"));
  const auto values = mutable_part(tensor, "outlier_values");
  for (int64_t i = 0; i < stored; ++i) {
    const uint16_t half = float_to_fp16(entries.values[static_cast<size_t>(i)]);
    std::memcpy(values.data() + 2 * i, &half, 2);
  }
}

}  // namespace bitsmith
