// What both kinds of additive matrix share: codebooks, scales, and decoding.
#pragma once
#include <algorithm>
#include <cstring>
#include <vector>

#include "base/half.h"
#include "runtime/matrices/panel_matrix.h"

namespace bitsmith {

class AdditiveMatrix : public PanelMatrix {
 public:
  // Centroids are summed up in float32, then rounded: as long as the products of some 30 tokens.
  bool decodes_for_few() const override { return false; }

 protected:
  AdditiveMatrix(const QuantizedTensor& tensor, const MatrixArrays& arrays)
      : PanelMatrix(tensor.out_features, tensor.in_features) {
    const auto& spec = tensor.term<AdditiveSpec>();
    codebooks_ = {.centroids = nullptr,
                  .num_codebooks = spec.num_codebooks,
                  .num_centroids = int64_t{1} << spec.nbits_per_codebook,
                  .in_group_size = spec.in_group_size,
                  .groups = in_features / spec.in_group_size,
                  .code_bytes = spec.nbits_per_codebook <= 8 ? 1 : 2};
    constexpr int64_t kReadable = 8;  // values past the end, see additive_gather.h
    const int64_t values =
        codebooks_.num_codebooks * codebooks_.num_centroids * codebooks_.in_group_size;
    centroids_ = arrays.get<uint16_t>("additive1.centroids", values + kReadable, [&](auto* to) {
      std::memcpy(to, tensor.part("codebooks").bytes.data(), static_cast<size_t>(2 * values));
    });
    codebooks_.centroids = centroids_.data();
    scales_ = arrays.get<float>("additive1.scales", out_features, [&](float* to) {
      const auto scales = tensor.part("scales").bytes;
      for (int64_t row = 0; row < out_features; ++row) to[row] = load_fp16(scales, row);
    });
  }

  AdditiveCodebooks codebooks_ = {};
  Array<uint16_t> centroids_;
  Array<float> scales_;
};

}  // namespace bitsmith
