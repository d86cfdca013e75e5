// rowsN: whole rows kept in 16 bits beside another term, as an embedding keeps those of special
// tokens.
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

// Values of `count` rows, zero elsewhere.
struct RowsSpec {
  int64_t count = 1;  // N: 1..out_features
  bool operator==(const RowsSpec&) const = default;

  // See Kind in kinds.h.
  static constexpr const char* kName = "rows";
  static constexpr const char* kGrammar =
      "+rowsN (rows: N whole rows in 16 bits, in an embedding or head those of special tokens "
      "first)";
  static constexpr bool kCorrects = true;
  static constexpr bool kRowsStandAlone = true;
  static RowsSpec parse(SpecReader& text);
  std::string text() const;
  static RowsSpec from_json(const Json& fields, const std::string& source);
  OrderedJson to_json() const;
  RowsSpec resolved(int64_t out_features, int64_t in_features, const std::string& where) const;
  RowsSpec shortened(int64_t, int64_t) const { return *this; }
  std::vector<PartLayout> parts(int64_t out_features, int64_t in_features,
                                const std::string& where) const;
  CodeLayout code_layout(int64_t out_features, int64_t) const { return {0, 0, 1, out_features}; }
  void check_quantizable(int64_t, int64_t) const {}
  int64_t least_rows(int64_t, int64_t) const { return count; }
  void decode_rows(const QuantizedTensor& tensor, int64_t first, int64_t rows,
                   std::span<float> out) const;
  // Rows spread evenly.
  void fill_random(const QuantizedTensor& tensor, Random& random) const;
  void check_values(const QuantizedTensor& tensor, const std::string& source) const;
};

// The rows that the term has values for, ascending, [count]. And back.
std::vector<int64_t> read_kept_rows(const QuantizedTensor& tensor);
void write_kept_rows(const QuantizedTensor& tensor, std::span<const int64_t> rows);

}  // namespace bitsmith
