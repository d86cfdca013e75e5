// had:R: the matrix is held rotated, W = out-rotation^T (sum of terms) in-rotation, so that large
// weights and inputs are spread over a block (QuIP, Chee et al. 2023; QuIP#, Tseng et al. 2024). A
// rotation is signs, and then Hadamard matrices of a block's size along the diagonal. With -real
// signs are real numbers, which start as +1 and -1 and are tuned (QuIP#, section 5): what is held
// then is scaled by them too, and "rotation" is a name. Not a kind of term: a transform around the
// sum.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "format/part_layout.h"
#include "format/spec_text.h"

namespace bitsmith {

struct QuantizedTensor;

struct HadamardSpec {
  static constexpr int64_t kByRule = -1;  // the largest block that divides the size, at most 1024
  static constexpr int64_t kNone = 0;     // this side is not rotated

  // Inputs and outputs of a block: sizes of hadamard_matrix.h. One side at least is rotated.
  int64_t in_block = kByRule;
  int64_t out_block = kByRule;
  bool real_signs = false;
  bool operator==(const HadamardSpec&) const = default;

  static constexpr const char* kName = "had";
  static constexpr const char* kGrammar =
      "had[-real][-in[N]][-out[N]]:R (rotated: R behind signed Hadamard matrices of N inputs, of N "
      "outputs, or, without -in and -out, of both; -real: signs are real numbers, which are tuned)";
  // Reads what follows the name, up to and with the colon. UsageError through `text`.
  static HadamardSpec parse(SpecReader& text);
  std::string text() const;
  // The resolved spec's fields, and back. Error names `source`.
  OrderedJson to_json() const;
  static HadamardSpec from_json(const Json& fields, const std::string& source);
  // With every size; and back: sizes that the rule would give left to it again. UsageError where
  // the sizes do not fit; `where` says whose they are.
  HadamardSpec resolved(int64_t out_features, int64_t in_features, const std::string& where) const;
  HadamardSpec shortened(int64_t out_features, int64_t in_features) const;
  // Of a resolved spec: so many neighboring rows are decoded together.
  int64_t rows_together() const { return out_block > 0 ? out_block : 1; }
  // input_signs, output_signs: bit i is 1 where input or output i changes its sign; real ones in
  // fp16.
  std::vector<PartLayout> parts(int64_t out_features, int64_t in_features,
                                const std::string& where) const;

 private:
  bool rotates() const { return in_block != kNone || out_block != kNone; }
};

// The signs of a rotated side, +1 or -1 each where they are not real; empty for the other.
std::vector<float> input_signs(const QuantizedTensor& tensor);
std::vector<float> output_signs(const QuantizedTensor& tensor);
// Not real ones.
void write_signs(const QuantizedTensor& tensor, const std::string& part,
                 std::span<const float> signs);

// Rows of a matrix from rows of what the terms give: decode(first, count, out) fills rows of the
// sum. out [count, in_features].
void decode_rotated_rows(const QuantizedTensor& tensor, const HadamardSpec& spec, int64_t first,
                         int64_t count, std::span<float> out,
                         const std::function<void(int64_t, int64_t, std::span<float>)>& decode);

}  // namespace bitsmith
