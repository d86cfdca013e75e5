// intBgG[-z]: w = scale * (code - zero).
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

// Codes of B bits, one fp16 scale per row and group of G inputs. Without zero points zero is
// 2^(B-1); scales may be negative. With -z a zero point of B bits per group is stored.
struct UniformSpec {
  int nbits = 4;            // B: 1..8
  int64_t group_size = 64;  // G: a divisor of in_features; 0: the whole row
  bool zero_points = false;
  bool operator==(const UniformSpec&) const = default;

  // For an embedding of rows of `in_features`: the largest power of two as group size that suits
  // the bits (finer for fewer) and divides the inputs.
  static UniformSpec for_rows(int nbits, int64_t in_features);

  // See Kind in kinds.h.
  static constexpr const char* kName = "int";
  static constexpr const char* kGrammar =
      "intBgG[-z] (uniform: B = 1..8 bits, a scale for each G inputs, G = 0 for the whole row, -z "
      "adds zero points)";
  static constexpr bool kCorrects = false;
  static constexpr bool kRowsStandAlone = true;
  static UniformSpec parse(SpecReader& text);
  std::string text() const;
  static UniformSpec from_json(const Json& fields, const std::string& source);
  OrderedJson to_json() const;
  UniformSpec resolved(int64_t out_features, int64_t in_features, const std::string& where) const;
  UniformSpec shortened(int64_t, int64_t) const { return *this; }
  std::vector<PartLayout> parts(int64_t out_features, int64_t in_features,
                                const std::string& where) const;
  CodeLayout code_layout(int64_t out_features, int64_t in_features) const {
    return {1, in_features, nbits, out_features};
  }
  void check_quantizable(int64_t, int64_t) const {}
  int64_t least_rows(int64_t, int64_t) const { return 1; }
  void decode_rows(const QuantizedTensor& tensor, int64_t first, int64_t count,
                   std::span<float> out) const;
  void check_values(const QuantizedTensor&, const std::string&) const {}
};

}  // namespace bitsmith
