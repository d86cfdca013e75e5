#include <algorithm>
#include <cstring>
#include <vector>

#include "format/bit_packing.h"
#include "kernels/aligned_buffer.h"
#include "kernels/gvq_gemv_layout.h"
#include "runtime/matrices/matrices.h"
#include "runtime/matrices/panel_matrix.h"

namespace bitsmith {
namespace {

class GvqMatrix final : public PanelMatrix {
 public:
  GvqMatrix(const QuantizedTensor& tensor, const MatrixArrays& arrays)
      : PanelMatrix(tensor.out_features, tensor.in_features),
        spec_(tensor.term<GvqSpec>()),
        layout_(gvq_layout(spec_, out_features, in_features)) {
    const int64_t tile_codes = layout_.codes_per_tile_row(), d = layout_.vector_size;
    const int64_t run = spec_.scale_block > 0 ? spec_.scale_block / d : tile_codes;
    shape_.code_bits = spec_.index_bits > 8 ? 16 : spec_.index_bits <= 4 && run % 2 == 0 ? 4 : 8;
    shape_.row_bytes = tile_codes * shape_.code_bits / 8;
    shape_.codes_per_row = tile_codes;
    shape_.padded =
        (spec_.centroids() + kCentroidPadding - 1) / kCentroidPadding * kCentroidPadding;
    shape_.vector_size = static_cast<int>(d);
    shape_.scale_stride = spec_.scale_block > 0 ? in_features / spec_.scale_block : 0;
    shape_.codes_per_scale = run;

    constexpr int64_t kReadable = 64;
    codes_ = arrays.get<uint8_t>(
        "gvq1.codes", out_features * layout_.column_groups * shape_.row_bytes + kReadable,
        [&](uint8_t* to) { repack_codes(tensor, to); });
    check_codes(arrays);
    planes_ =
        arrays.get<float>("gvq1.planes", layout_.strips * layout_.column_groups * d * shape_.padded,
                          [&](float* to) { repack_codebooks(tensor, to); });
    if (spec_.scale_block > 0) {
      block_scales_ = arrays.get<float>("gvq1.block_scales", out_features * shape_.scale_stride,
                                        [&](float* to) { repack_block_scales(tensor, to); });
    }
    inputs_ = AlignedBuffer<float>(in_features);
  }

  void decode_row(int64_t row, float* out) const override {
    const int64_t strip = row / layout_.tile_rows, d = layout_.vector_size;
    for (int64_t column_group = 0; column_group < layout_.column_groups; ++column_group) {
      const GvqTile tile = tile_at(strip, column_group);
      const int64_t r = row - strip * layout_.tile_rows;
      const uint8_t* codes = tile.codes + r * tile.row_bytes;
      for (int64_t p = 0; p < tile.codes_per_row; ++p) {
        const float* centroid = tile.planes + gvq_code(tile, codes, p);
        for (int64_t t = 0; t < d; ++t, ++out) {
          *out = centroid[t * tile.padded];
          if (tile.block_scales) {
            *out *= tile.block_scales[r * tile.scale_stride + p / tile.codes_per_scale];
          }
        }
      }
    }
  }

  uint64_t bytes() const override {
    return codes_.bytes() + planes_.bytes() + block_scales_.bytes();
  }
  std::string kernel() const override { return "codebook tiles"; }

 protected:
  bool multiply_one(const float* x, float* y, ThreadPool& pool) override {
    const int64_t d = layout_.vector_size, places = in_features / d;
    for (int64_t p = 0; p < places; ++p) {
      for (int64_t t = 0; t < d; ++t) inputs_[t * places + p] = x[p * d + t];
    }
    run_ranges(pool, layout_.strips, [&](int64_t first, int64_t count) {
      for (int64_t strip = first; strip < first + count; ++strip) {
        float* rows = y + strip * layout_.tile_rows;
        std::fill_n(rows, strip_rows(strip), 0.0f);
        for (int64_t column_group = 0; column_group < layout_.column_groups; ++column_group) {
          kernels().gvq.multiply(tile_at(strip, column_group), strip_rows(strip),
                                 inputs_.data() + column_group * layout_.codes_per_tile_row(),
                                 places, rows);
        }
      }
    });
    return true;
  }

 private:
  int64_t strip_rows(int64_t strip) const {
    return std::min(layout_.tile_rows, out_features - strip * layout_.tile_rows);
  }
  int64_t tile_bytes_before(int64_t strip, int64_t column_group) const {
    const int64_t rows_before = strip * layout_.tile_rows * layout_.column_groups;
    return (rows_before + column_group * strip_rows(strip)) * shape_.row_bytes;
  }
  GvqTile tile_at(int64_t strip, int64_t column_group) const {
    GvqTile tile = shape_;
    tile.codes = codes_.data() + tile_bytes_before(strip, column_group);
    tile.planes = planes_.data() + (strip * layout_.column_groups + column_group) *
                                       layout_.vector_size * tile.padded;
    if (spec_.scale_block > 0) {
      tile.block_scales = block_scales_.data() + strip * layout_.tile_rows * shape_.scale_stride +
                          column_group * (layout_.tile_columns / spec_.scale_block);
    }
    return tile;
  }

  void repack_codes(const QuantizedTensor& tensor, uint8_t* codes) const {
    for (int64_t row = 0; row < out_features; ++row) {
      const std::vector<uint16_t> unpacked = row_codes(tensor, row);
      const int64_t strip = row / layout_.tile_rows, r = row - strip * layout_.tile_rows;
      for (int64_t column_group = 0; column_group < layout_.column_groups; ++column_group) {
        uint8_t* to = codes + tile_bytes_before(strip, column_group) + r * shape_.row_bytes;
        const uint16_t* from = unpacked.data() + column_group * shape_.codes_per_row;
        if (shape_.code_bits == 4) {
          const auto bytes =
              std::span(reinterpret_cast<std::byte*>(to), static_cast<size_t>(shape_.row_bytes));
          pack_row({from, static_cast<size_t>(shape_.codes_per_row)}, 4, bytes);
        } else if (shape_.code_bits == 8) {
          std::copy_n(from, shape_.codes_per_row, to);
        } else {
          std::memcpy(to, from, static_cast<size_t>(shape_.row_bytes));
        }
      }
    }
  }

  // Codes of 4 bits stay inside of the padding. Rows of longer ones have no gaps.
  void check_codes(const MatrixArrays& arrays) const {
    if (shape_.code_bits == 4 || spec_.centroids() == int64_t{1} << shape_.code_bits) return;
    const int64_t codes = out_features * layout_.column_groups * shape_.codes_per_row;
    int largest = 0;
    for (int64_t p = 0; p < codes; ++p)
      largest = std::max(largest, gvq_code(shape_, codes_.data(), p));
    arrays.check_index("gvq1.codes", largest, spec_.centroids());
  }

  void repack_codebooks(const QuantizedTensor& tensor, float* planes) const {
    const int64_t d = layout_.vector_size;
    for (int64_t strip = 0; strip < layout_.strips; ++strip) {
      for (int64_t column_group = 0; column_group < layout_.column_groups; ++column_group) {
        const std::vector<float> centroids = tile_centroids(tensor, strip, column_group);
        for (int64_t k = 0; k < spec_.centroids(); ++k) {
          for (int64_t t = 0; t < d; ++t)
            planes[t * shape_.padded + k] = centroids[static_cast<size_t>(k * d + t)];
        }
        planes += d * shape_.padded;
      }
    }
  }

  void repack_block_scales(const QuantizedTensor& tensor, float* to) const {
    std::vector<uint16_t> codes(static_cast<size_t>(shape_.scale_stride));
    const int64_t per_tile = layout_.tile_columns / spec_.scale_block;
    for (int64_t row = 0; row < out_features; ++row, to += shape_.scale_stride) {
      unpack_row(part_row(tensor, "block_scales", row), 4, codes);
      for (int64_t column_group = 0; column_group < layout_.column_groups; ++column_group) {
        const auto scales = tile_block_scales(tensor, row / layout_.tile_rows, column_group);
        for (int64_t b = column_group * per_tile; b < (column_group + 1) * per_tile; ++b)
          to[b] = scales[codes[static_cast<size_t>(b)]];
      }
    }
  }

  GvqSpec spec_;
  GvqLayout layout_;
  GvqTile shape_ = {};  // what all tiles have in common
  Array<uint8_t> codes_;
  Array<float> planes_;          // [tiles, D, padded]
  Array<float> block_scales_;    // [out, in / S]
  AlignedBuffer<float> inputs_;  // one token's activations [D, in / D]
};

}  // namespace

std::unique_ptr<WeightMatrix> make_gvq_matrix(const QuantizedTensor& tensor,
                                              const MatrixArrays& arrays) {
  return std::make_unique<GvqMatrix>(tensor, arrays);
}

}  // namespace bitsmith
