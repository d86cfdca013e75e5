// [6] A quantized matrix as plain data: a spec and the arrays that the file holds.
#pragma once
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "checkpoint/tensor_view.h"
#include "format/representation_spec.h"

namespace bitsmith {

// The parts of all terms: a kind occurs once in a sum, and its parts' names are its own.
struct QuantizedTensor {
  RepresentationSpec spec;  // resolved
  int64_t out_features = 0;
  int64_t in_features = 0;
  std::vector<TensorView> parts;        // in the order of part_layout(); names without the module
  std::shared_ptr<const void> storage;  // keeps the parts' bytes alive

  const TensorView& part(const std::string& name) const;
  // The term of kind S, which the sum has.
  template <typename S>
  const S& term() const {
    for (const TermSpec& term : spec.terms) {
      if (const S* found = std::get_if<S>(&term)) return *found;
    }
    BITSMITH_CHECK(false);
    std::abort();
  }
};

// Resolves the spec and allocates zeroed parts of the right sizes; `mutable_part` gives their bytes
// while building one.
QuantizedTensor allocate_quantized(const RepresentationSpec& spec, int64_t out_features,
                                   int64_t in_features);
std::span<std::byte> mutable_part(const QuantizedTensor& tensor, const std::string& name);

// One row of a part whose first dimension is the matrix's rows, and an F16 value of a part: parts
// inside a file may begin at any byte. (Files are little-endian, as the machines Bitsmith runs on.)
std::span<const std::byte> part_row(const QuantizedTensor& tensor, const std::string& name,
                                    int64_t row);
float load_fp16(std::span<const std::byte> bytes, int64_t index);

// Row number i of rows of `columns` values.
inline std::span<float> row_of(std::span<float> rows, int64_t i, int64_t columns) {
  return rows.subspan(static_cast<size_t>(i * columns), static_cast<size_t>(columns));
}

// Codes of one row of the first term in the order of the row's inputs, unpacked, values in [0,
// 2^B); as many as code_layout() says. Several codes of one group (aq) are adjacent.
std::vector<uint16_t> row_codes(const QuantizedTensor& tensor, int64_t row);
void set_row_codes(const QuantizedTensor& tensor, int64_t row, std::span<const uint16_t> codes);

// The plain reference decode that everything else is tested against: the terms' values, added in
// float32 in their order, and turned back where the sum is in a transform. out: [count,
// in_features].
void decode_rows(const QuantizedTensor& tensor, int64_t first, int64_t count, std::span<float> out);

// Checks dtypes, shapes, byte counts and finite scales; `source` names the tensor in errors.
void verify(const QuantizedTensor& tensor, const std::string& source);
// The parts as tensors of the file: "MODULE.codes", ...
std::vector<TensorView> named_parts(const QuantizedTensor& tensor, const std::string& module);

}  // namespace bitsmith
