// outP%: a share of the weights kept in 16 bits beside another term (outliers; SpQR, Dettmers et
// al. 2023, and PV-Tuning's appendix J).
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "format/part_layout.h"
#include "format/spec_text.h"

namespace bitsmith {

struct QuantizedTensor;
class Random;

// `count` values at places of their own, zero elsewhere.
struct SparseSpec {
  int share = 50;     // hundredths of a percent of the weights: 1..1600; 0 where count is given
  int64_t count = 0;  // values of the matrix; 0: by the share
  bool operator==(const SparseSpec&) const = default;

  // See Kind in kinds.h.
  static constexpr const char* kName = "out";
  static constexpr const char* kGrammar =
      "+outP% (outliers: P = 0.01..16 percent of the weights in 16 bits; or +outNw: N weights)";
  static constexpr bool kCorrects = true;
  static constexpr bool kRowsStandAlone = false;
  static SparseSpec parse(SpecReader& text);
  std::string text() const;
  static SparseSpec from_json(const Json& fields, const std::string& source);
  OrderedJson to_json() const;
  SparseSpec resolved(int64_t out_features, int64_t in_features, const std::string& where) const;
  SparseSpec shortened(int64_t out_features, int64_t in_features) const;
  std::vector<PartLayout> parts(int64_t out_features, int64_t in_features,
                                const std::string& where) const;
  CodeLayout code_layout(int64_t out_features, int64_t) const { return {0, 0, 1, out_features}; }
  void check_quantizable(int64_t, int64_t) const {}
  int64_t least_rows(int64_t, int64_t) const { return 1; }
  void decode_rows(const QuantizedTensor& tensor, int64_t first, int64_t count,
                   std::span<float> out) const;
  // As many values as the term has, at rising columns of each row.
  void fill_random(const QuantizedTensor& tensor, Random& random) const;
  void check_values(const QuantizedTensor& tensor, const std::string& source) const;
};

// The stored values of a sparse term, row by row, in each by column.
struct SparseEntries {
  std::vector<int64_t> row_starts;  // [out_features + 1]
  std::vector<int32_t> columns;     // [count]
  std::vector<float> values;        // [count]
};
SparseEntries read_sparse(const QuantizedTensor& tensor);
// Writes the parts; entries as above, values rounded to F16.
void write_sparse(const QuantizedTensor& tensor, const SparseEntries& entries);

}  // namespace bitsmith
