// lrK: a product of two thin matrices beside another term (LoRC, Yao et al. 2023, and PV-Tuning's
// appendix J).
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

// left [out_features, K] times right [K, in_features], both fp16.
struct LowRankSpec {
  int rank = 8;  // K: at least 1, less than out_features and in_features
  bool operator==(const LowRankSpec&) const = default;

  // See Kind in kinds.h.
  static constexpr const char* kName = "lr";
  static constexpr const char* kGrammar = "+lrK (low rank: a product of two matrices of rank K)";
  static constexpr bool kCorrects = true;
  static constexpr bool kRowsStandAlone = false;
  static LowRankSpec parse(SpecReader& text);
  std::string text() const;
  static LowRankSpec from_json(const Json& fields, const std::string& source);
  OrderedJson to_json() const;
  LowRankSpec resolved(int64_t out_features, int64_t in_features, const std::string& where) const;
  LowRankSpec shortened(int64_t, int64_t) const { return *this; }
  std::vector<PartLayout> parts(int64_t out_features, int64_t in_features,
                                const std::string& where) const;
  CodeLayout code_layout(int64_t out_features, int64_t) const { return {0, 0, 1, out_features}; }
  void check_quantizable(int64_t, int64_t) const {}
  int64_t least_rows(int64_t, int64_t) const { return rank + 1; }
  // Sums over k = 0, 1, ... in float32.
  void decode_rows(const QuantizedTensor& tensor, int64_t first, int64_t count,
                   std::span<float> out) const;
  void check_values(const QuantizedTensor&, const std::string&) const {}
};

}  // namespace bitsmith
