#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "format/bit_packing.h"
#include "kernels/aligned_buffer.h"
#include "kernels/gvq_bundle_layout.h"
#include "runtime/matrices/matrices.h"
#include "runtime/matrices/panel_matrix.h"

namespace bitsmith {
namespace {

int code_bits_of(const GvqSpec& spec) {
  return spec.index_bits <= 4 ? 4 : spec.index_bits <= 6 ? 6 : 8;
}

int64_t bundles_of(int64_t rows) { return (rows + kGvqBundleRows - 1) / kGvqBundleRows; }

// How a matrix's rows fall into bundles, strip by strip; small strips of codes of 4 bits without
// block scales share one, and are one here.
struct BundleRows {
  int64_t lane_tiles, tile_rows, strip_bundles, out_features;

  BundleRows(const GvqSpec& spec, const GvqLayout& layout, int64_t out)
      : lane_tiles(code_bits_of(spec) == 4 && spec.scale_block == 0 &&
                           (layout.tile_rows == 8 || layout.tile_rows == 4)
                       ? kGvqBundleRows / layout.tile_rows
                       : 1),
        tile_rows(lane_tiles * layout.tile_rows),
        strip_bundles(bundles_of(tile_rows)),
        out_features(out) {}
  int64_t bundles() const {
    return out_features / tile_rows * strip_bundles + bundles_of(out_features % tile_rows);
  }
  int64_t bundle_of(int64_t row) const {
    return row / tile_rows * strip_bundles + row % tile_rows / kGvqBundleRows;
  }
  int64_t first_row(int64_t bundle) const {
    return bundle / strip_bundles * tile_rows + bundle % strip_bundles * kGvqBundleRows;
  }
  int64_t end_row(int64_t bundle) const {
    const int64_t strip_end = (bundle / strip_bundles + 1) * tile_rows;
    return std::min({first_row(bundle) + kGvqBundleRows, strip_end, out_features});
  }
};

class GvqBundleMatrix final : public PanelMatrix {
 public:
  GvqBundleMatrix(const QuantizedTensor& tensor, const MatrixArrays& arrays)
      : PanelMatrix(tensor.out_features, tensor.in_features),
        spec_(tensor.term<GvqSpec>()),
        layout_(gvq_layout(spec_, out_features, in_features)),
        rows_(spec_, layout_, out_features) {
    w_.code_bits = code_bits_of(spec_);
    w_.vector_size = spec_.vector_size;
    w_.lane_codes = kernels().gvq_bundle.lane_codes(w_.code_bits, w_.vector_size);
    w_.column_groups = layout_.column_groups;
    w_.group_units = layout_.tile_columns / kInt8Unit;
    w_.strip_bundles = rows_.strip_bundles;
    w_.lane_tiles = rows_.lane_tiles;
    if (spec_.scale_block > 0) {
      w_.scale_bytes = gvq_bundle_scale_bytes(layout_.tile_columns / spec_.scale_block);
      w_.scale_units_log2 = std::countr_zero(static_cast<uint64_t>(spec_.scale_block / kInt8Unit));
    }
    const int64_t strips = (out_features + rows_.tile_rows - 1) / rows_.tile_rows;
    const int64_t tiles = strips * layout_.column_groups * rows_.lane_tiles;
    pieces_ = arrays.get<uint8_t>("gvq_bundle1.pieces",
                                  rows_.bundles() * w_.column_groups * gvq_bundle_piece_bytes(w_),
                                  [&](uint8_t* to) {
                                    repack_codes(tensor, to);
                                    if (spec_.scale_block > 0) repack_block_scales(tensor, to);
                                  });
    tables_ = arrays.get<uint8_t>("gvq_bundle1.tables", tiles * table_bytes(),
                                  [&](uint8_t* to) { repack_codebooks(tensor, to); });
    scales_ = arrays.get<float>("gvq_bundle1.scales", tiles, [&](float* to) {
      const auto scales = tensor.part("codebook_scales").bytes;
      for_each_tile([&](int64_t strip, int64_t g, int64_t tile) {
        to[tile] = load_fp16(scales, strip * layout_.column_groups + g);
      });
    });
    if (spec_.scale_block > 0) {
      block_scales_ = arrays.get<float>("gvq_bundle1.block_scales", tiles * 16, [&](float* to) {
        for_each_tile([&](int64_t strip, int64_t g, int64_t tile) {
          std::ranges::copy(tile_block_scales(tensor, strip, g), to + tile * 16);
        });
      });
      for (int64_t i = 0; i < tiles * 16; ++i)
        products_.push_back(block_scales_[i] * scales_[i / 16]);
    }
    w_.pieces = pieces_.data();
    w_.tables = tables_.data();
    w_.scales = products_.empty() ? scales_.data() : products_.data();

    for (int64_t i = 0; i < kInt8Unit; ++i) {
      const auto place = static_cast<size_t>(i);
      order_[place] = static_cast<uint8_t>(gvq_bundle_input(w_.lane_codes, w_.vector_size, i));
      in_order_ = in_order_ && order_[place] == i;
    }
    input_codes_ = AlignedBuffer<int8_t>(in_features);
    input_scales_ = AlignedBuffer<float>(in_features / kInt8Unit);
    input_sums_ = AlignedBuffer<int32_t>(in_features / kInt8Unit);
  }

  void decode_row(int64_t row, float* out) const override {
    const int64_t bundle = rows_.bundle_of(row), lane = row - rows_.first_row(bundle);
    const int64_t d = layout_.vector_size, unit_bytes = gvq_bundle_unit_bytes(w_.code_bits, d);
    for (int64_t g = 0; g < layout_.column_groups; ++g) {
      const int64_t tile = gvq_bundle_tile(w_, bundle, g, lane);
      const uint8_t* piece = piece_at(bundle, g);
      const uint8_t* table = tables_.data() + tile * table_bytes();
      for (int64_t u = 0; u < w_.group_units; ++u) {
        const float block_scale =
            spec_.scale_block > 0
                ? gvq_bundle_scale(w_, piece, block_scales_.data() + tile * 16, lane, u)
                : 1.0f;
        const uint8_t* unit = piece + w_.scale_bytes + u * unit_bytes;
        for (int64_t i = 0; i < kInt8Unit / d; ++i) {
          const int code = load_gvq_bundle_code(unit, w_.code_bits, w_.lane_codes, lane, i);
          for (int64_t t = 0; t < d; ++t) {
            const int value =
                table[gvq_bundle_table_place(w_.code_bits, w_.lane_codes, code, t)] - kBias;
            *out++ = scales_[tile] * static_cast<float>(value) * block_scale;
          }
        }
      }
    }
  }

  uint64_t bytes() const override {
    return pieces_.bytes() + tables_.bytes() + scales_.bytes() + block_scales_.bytes();
  }
  std::string kernel() const override { return "codebook tiles in bundles of rows"; }

 protected:
  bool multiply_one(const float* x, float* y, ThreadPool& pool) override {
    prepare_inputs(x);
    const GvqBundleInput input = {input_codes_.data(), input_scales_.data(), input_sums_.data()};
    run_ranges(pool, rows_.bundles(), [&](int64_t first, int64_t count) {
      constexpr int64_t kBundles = 16;  // at a time
      float sums[kBundles * kGvqBundleRows];
      for (int64_t b = first, some = 0; b < first + count; b += some) {
        some = std::min(kBundles, first + count - b);
        kernels().gvq_bundle.multiply(w_, b, some, input, sums);
        for (int64_t i = 0; i < some; ++i) {
          const int64_t row = rows_.first_row(b + i);
          std::copy_n(sums + i * kGvqBundleRows, rows_.end_row(b + i) - row, y + row);
        }
      }
    });
    return true;
  }

  // By way of int8: only the product of the two scales is rounded.
  void decode_panel(int64_t p, float* panel) const override {
    static_assert(kPanelRows == kInt8Rows);
    struct Decoded;
    const Int8Panel decoded = {
        .inputs = in_features,
        .chunk = static_cast<int>(kInt8Unit),
        .codes = thread_scratch<int8_t, Decoded>(in_features * kInt8Rows),
        .scales = thread_scratch<float, Decoded>(in_features / kInt8Unit * kInt8Rows)};
    if ((p + 1) * kInt8Rows > out_features)  // rows that are missing
      std::fill_n(decoded.scales, in_features / kInt8Unit * kInt8Rows, 0.0f);
    decode_int8(p, 0, decoded);
    for (int64_t i = 0; i < in_features; ++i) {
      const int64_t unit = i / kInt8Unit, place = i % kInt8Unit;
      const int8_t* codes = decoded.codes + i / 4 * 4 * kInt8Rows + i % 4;
      const float* scales = decoded.scales + unit * kInt8Rows;
      float* to = panel + (unit * kInt8Unit + order_[static_cast<size_t>(place)]) * kPanelRows;
      for (int64_t r = 0; r < kPanelRows; ++r) to[r] = scales[r] * static_cast<float>(codes[4 * r]);
    }
  }

  std::optional<Int8Blocks> int8_blocks() const override {
    const int64_t column_groups =
        std::clamp<int64_t>(kCachedInputs / layout_.tile_columns, 1, layout_.column_groups);
    return Int8Blocks{.inputs = column_groups * layout_.tile_columns,
                      .chunk = static_cast<int>(kInt8Unit),
                      .order = in_order_ ? nullptr : order_.data(),
                      .same_as_one = true};
  }

  // Values of the codebooks as they are; only the product of the two scales is rounded.
  void decode_int8(int64_t p, int64_t first, const Int8Panel& panel) const override {
    const int64_t begin = p * kInt8Rows, end = std::min(begin + kInt8Rows, out_features);
    for (int64_t row = begin; row < end;) {
      const int64_t bundle = rows_.bundle_of(row), bundle_row = rows_.first_row(bundle);
      const int64_t next = std::min(rows_.end_row(bundle), end);
      kernels().gvq_bundle.decode_int8(w_, bundle, row - bundle_row, next - bundle_row, first,
                                       panel, bundle_row - begin);
      row = next;
    }
  }

 private:
  static constexpr int kBias = 128;

  int64_t table_bytes() const { return gvq_bundle_table_bytes(w_.code_bits, w_.vector_size); }
  int64_t piece_offset(int64_t bundle, int64_t column_group) const {
    return (bundle * w_.column_groups + column_group) * gvq_bundle_piece_bytes(w_);
  }
  const uint8_t* piece_at(int64_t bundle, int64_t column_group) const {
    return pieces_.data() + piece_offset(bundle, column_group);
  }

  void repack_codes(const QuantizedTensor& tensor, uint8_t* to) const {
    const int64_t unit_codes = kInt8Unit / layout_.vector_size;
    const int64_t unit_bytes = gvq_bundle_unit_bytes(w_.code_bits, layout_.vector_size);
    for (int64_t row = 0; row < out_features; ++row) {
      const std::vector<uint16_t> codes = row_codes(tensor, row);
      const int64_t bundle = rows_.bundle_of(row), lane = row - rows_.first_row(bundle);
      size_t next = 0;
      for (int64_t g = 0; g < w_.column_groups; ++g) {
        uint8_t* unit = to + piece_offset(bundle, g) + w_.scale_bytes;
        for (int64_t u = 0; u < w_.group_units; ++u, unit += unit_bytes) {
          for (int64_t i = 0; i < unit_codes; ++i)
            store_gvq_bundle_code(unit, w_.code_bits, w_.lane_codes, lane, i, codes[next++]);
        }
      }
    }
  }

  void repack_block_scales(const QuantizedTensor& tensor, uint8_t* to) const {
    const int64_t per_tile = layout_.tile_columns / spec_.scale_block;
    std::vector<uint16_t> codes(static_cast<size_t>(in_features / spec_.scale_block));
    for (int64_t row = 0; row < out_features; ++row) {
      unpack_row(part_row(tensor, "block_scales", row), GvqSpec::kBlockScaleBits, codes);
      const int64_t bundle = rows_.bundle_of(row), lane = row - rows_.first_row(bundle);
      for (int64_t i = 0; i < std::ssize(codes); ++i) {
        const int64_t j = i % per_tile;
        uint8_t& both = to[piece_offset(bundle, i / per_tile) + j / 2 * kGvqBundleRows + lane];
        both = static_cast<uint8_t>(both | codes[static_cast<size_t>(i)] << (j % 2 * 4));
      }
    }
  }

  // f(strip, column group, the tile's place in the arrays), in the order of the file.
  template <typename F>
  void for_each_tile(const F& f) const {
    for (int64_t strip = 0; strip < layout_.strips; ++strip) {
      const int64_t row = strip * layout_.tile_rows, bundle = rows_.bundle_of(row);
      for (int64_t g = 0; g < layout_.column_groups; ++g)
        f(strip, g, gvq_bundle_tile(w_, bundle, g, row - rows_.first_row(bundle)));
    }
  }

  void repack_codebooks(const QuantizedTensor& tensor, uint8_t* to) const {
    const int64_t d = layout_.vector_size, k = spec_.centroids();
    const std::byte* values = tensor.part("codebooks").bytes.data();
    for_each_tile([&](int64_t, int64_t, int64_t tile) {
      uint8_t* table = to + tile * table_bytes();
      for (int64_t i = 0; i < k * d; ++i) {
        table[gvq_bundle_table_place(w_.code_bits, w_.lane_codes, i / d, i % d)] =
            static_cast<uint8_t>(static_cast<int8_t>(*values++) + kBias);
      }
    });
  }

  void prepare_inputs(const float* x) {
    kernels().uniform.quantize(x, in_features, kInt8Unit,
                               {input_codes_.data(), input_scales_.data(), input_sums_.data()});
    if (!in_order_) {
      kernels().int8_gemm.reorder(input_codes_.data(), in_features / kInt8Unit, order_.data());
    }
  }

  GvqSpec spec_;
  GvqLayout layout_;
  BundleRows rows_;
  GvqBundles w_ = {};
  Array<uint8_t> pieces_, tables_;
  Array<float> scales_;                   // [tiles]
  Array<float> block_scales_;             // [tiles, 16]
  std::vector<float> products_;           // of both
  std::array<uint8_t, kInt8Unit> order_;  // of a unit's inputs
  bool in_order_ = true;
  AlignedBuffer<int8_t> input_codes_;  // one token's activations
  AlignedBuffer<float> input_scales_;
  AlignedBuffer<int32_t> input_sums_;
};

}  // namespace

bool gvq_bundles_fit(const QuantizedTensor& tensor) {
  const auto& spec = tensor.term<GvqSpec>();
  const GvqLayout layout = gvq_layout(spec, tensor.out_features, tensor.in_features);
  if (spec.fp16_codebooks || spec.rank > 0 || spec.index_bits < 3 || spec.index_bits > 8 ||
      kernels().gvq_bundle.lane_codes(code_bits_of(spec), spec.vector_size) == 0 ||
      layout.tile_columns % kInt8Unit != 0) {
    return false;
  }
  if (spec.scale_block > 0 && (spec.scale_block % kInt8Unit != 0 ||
                               !std::has_single_bit(static_cast<uint64_t>(spec.scale_block)))) {
    return false;
  }
  // Of the bundles' rows at most one in nine is missing.
  const int64_t rows = BundleRows(spec, layout, tensor.out_features).bundles() * kGvqBundleRows;
  return 8 * rows <= 9 * tensor.out_features;
}

std::unique_ptr<WeightMatrix> make_gvq_bundle_matrix(const QuantizedTensor& tensor,
                                                     const MatrixArrays& arrays) {
  return std::make_unique<GvqBundleMatrix>(tensor, arrays);
}

}  // namespace bitsmith
