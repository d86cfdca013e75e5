// [6] A quantized matrix as plain data: a spec and the arrays that the file holds.
#pragma once
#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/tensor_view.h"
#include "format/representation_spec.h"

namespace bitsmith {

struct QuantizedTensor {
  RepresentationSpec spec;
  int64_t out_features = 0;
  int64_t in_features = 0;
  std::vector<TensorView> parts;        // in the order of part_layout(); names without the module
  std::shared_ptr<const void> storage;  // keeps the parts' bytes alive

  const TensorView& part(const std::string& name) const;
};

// Allocates zeroed parts of the right sizes; `mutable_part` gives their bytes while building one.
QuantizedTensor allocate_quantized(const RepresentationSpec& spec, int64_t out_features,
                                   int64_t in_features);
std::span<std::byte> mutable_part(const QuantizedTensor& tensor, const std::string& name);

// Codes of one row, unpacked, values in [0, 2^B): UniformSpec [in_features];
// AdditiveSpec [in_features / G, M] row-major; GroupedSpec [in_features / D].
std::vector<uint16_t> row_codes(const QuantizedTensor& tensor, int64_t row);
void set_row_codes(const QuantizedTensor& tensor, int64_t row, std::span<const uint16_t> codes);

// gvq: the centroids of one tile, [2^(B D), D] float32: int8 or fp16 values, times the codebook's
// scale; with a rank the sum over k = 0, 1, ... of value k times row k of the shared basis.
std::vector<float> tile_centroids(const QuantizedTensor& tensor, int64_t strip, int64_t group);
// gvq with block scales: the 16 scales of one tile, 2^(first + code * step), in float32.
std::array<float, 16> tile_block_scales(const QuantizedTensor& tensor, int64_t strip,
                                        int64_t group);

// aq: the scales of one row in float32, a single one or, with group scales, one for each group; and
// the groups' codes [in_features / G].
std::vector<float> additive_scales(const QuantizedTensor& tensor, int64_t row);
std::vector<uint16_t> additive_scale_codes(const QuantizedTensor& tensor, int64_t row);

// The plain reference decode that everything else is tested against. Row sums of codebook vectors
// are added in float32 in the order m = 0, 1, ..., then multiplied by the scale. out: [count,
// in_features].
void decode_rows(const QuantizedTensor& tensor, int64_t first, int64_t count, std::span<float> out);

// Checks dtypes, shapes, byte counts and finite scales; `source` names the tensor in errors.
void verify(const QuantizedTensor& tensor, const std::string& source);

}  // namespace bitsmith
