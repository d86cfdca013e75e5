// What both kinds of additive matrix share: codebooks, scales, and decoding.
#pragma once
#include <algorithm>
#include <cstring>
#include <vector>

#include "base/half.h"
#include "kernels/aligned_buffer.h"
#include "runtime/matrices/panel_matrix.h"

namespace bitsmith {

class AdditiveMatrix : public PanelMatrix {
 protected:
  explicit AdditiveMatrix(const QuantizedTensor& tensor)
      : PanelMatrix(tensor.out_features, tensor.in_features), scales_(out_features) {
    const auto& spec = tensor.term<AdditiveSpec>();
    const auto centroids = tensor.part("codebooks").bytes;
    constexpr int64_t kReadable = 8;  // values past the end, see additive_gather.h
    centroids_ = AlignedBuffer<uint16_t>(static_cast<int64_t>(centroids.size() / 2) + kReadable);
    std::memcpy(centroids_.data(), centroids.data(), centroids.size());
    codebooks_ = {.centroids = centroids_.data(),
                  .num_codebooks = spec.num_codebooks,
                  .num_centroids = int64_t{1} << spec.nbits_per_codebook,
                  .in_group_size = spec.in_group_size,
                  .groups = in_features / spec.in_group_size,
                  .code_bytes = spec.nbits_per_codebook <= 8 ? 1 : 2};
    const std::byte* scales = tensor.part("scales").bytes.data();
    for (int64_t row = 0; row < out_features; ++row) {
      uint16_t scale;
      std::memcpy(&scale, scales + 2 * row, 2);
      scales_[row] = fp16_to_float(scale);
    }
  }

  AdditiveCodebooks codebooks_ = {};
  AlignedBuffer<uint16_t> centroids_;
  AlignedBuffer<float> scales_;
};

}  // namespace bitsmith
