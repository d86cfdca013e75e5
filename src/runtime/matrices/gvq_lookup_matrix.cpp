#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "format/bit_packing.h"
#include "kernels/aligned_buffer.h"
#include "kernels/gvq_lookup_layout.h"
#include "runtime/matrices/matrices.h"
#include "runtime/matrices/panel_matrix.h"

namespace bitsmith {
namespace {

int code_bits_of(const GvqSpec& spec) {
  return spec.index_bits <= 2 ? 2 : spec.index_bits <= 4 ? 4 : spec.index_bits <= 6 ? 6 : 8;
}

// Inputs that a lane's four codes may lie within.
int64_t lane_inputs(const GvqSpec& spec) {
  return 4 * gvq_place(code_bits_of(spec), 1) * spec.vector_size;
}

// Where a packet's scale codes are: four bytes from `byte` on, and a shift for each lane.
struct ScalePlaces {
  int32_t byte;
  std::array<int32_t, kGvqLanes> shifts;
};
ScalePlaces scale_places(const GvqSpec& spec, int64_t packet) {
  const int64_t d = spec.vector_size, first = packet * kGvqPacket * d / spec.scale_block;
  ScalePlaces places{static_cast<int32_t>(first / 2), {}};
  for (int64_t lane = 0; lane < kGvqLanes; ++lane) {
    const int64_t place = packet * kGvqPacket + gvq_place(code_bits_of(spec), 4 * lane);
    const int64_t scale = place * d / spec.scale_block;
    places.shifts[lane] = static_cast<int32_t>(4 * (scale - first / 2 * 2));
  }
  return places;
}

class GvqLookupMatrix final : public PanelMatrix {
 public:
  GvqLookupMatrix(const QuantizedTensor& tensor, const MatrixArrays& arrays)
      : PanelMatrix(tensor.out_features, tensor.in_features),
        spec_(tensor.term<GvqSpec>()),
        layout_(gvq_layout(spec_, out_features, in_features)) {
    const int64_t tile_codes = layout_.codes_per_tile_row();
    shape_.column_groups = layout_.column_groups;
    shape_.code_bits = code_bits_of(spec_);
    shape_.vector_size = static_cast<int>(layout_.vector_size);
    shape_.packets = (tile_codes + kGvqPacket - 1) / kGvqPacket;
    packet_bytes_ = gvq_packet_bytes(shape_.code_bits, kGvqPacket);
    const int64_t last = tile_codes - (shape_.packets - 1) * kGvqPacket;
    shape_.row_bytes =
        (shape_.packets - 1) * packet_bytes_ + gvq_packet_bytes(shape_.code_bits, last);
    entries_ = gvq_table_entries(shape_.code_bits);

    constexpr int64_t kReadable = 64;
    const int64_t tiles = layout_.strips * layout_.column_groups;
    codes_ = arrays.get<uint8_t>(
        "gvq_lookup1.codes", out_features * layout_.column_groups * shape_.row_bytes + kReadable,
        [&](uint8_t* to) { repack_codes(tensor, to); });
    tables_ = arrays.get<int8_t>("gvq_lookup1.tables", tiles * shape_.vector_size * entries_,
                                 [&](int8_t* to) { repack_codebooks(tensor, tiles, to); });
    scales_ = arrays.get<float>("gvq_lookup1.scales", tiles, [&](float* to) {
      const auto scales = tensor.part("codebook_scales").bytes;
      for (int64_t tile = 0; tile < tiles; ++tile) to[tile] = load_fp16(scales, tile);
    });
    if (spec_.scale_block > 0) make_block_scales(tensor, arrays, tiles);
    plan_inputs();
    for (int64_t i = 0; i < kInt8Unit; ++i) {
      panel_order_[static_cast<size_t>(i)] =
          static_cast<uint8_t>(gvq_panel_input(shape_.code_bits, layout_.vector_size, i));
    }
  }

  void decode_row(int64_t row, float* out) const override {
    const int64_t strip = row / layout_.tile_rows, d = layout_.vector_size;
    const int64_t places = layout_.codes_per_tile_row();
    const int64_t run = spec_.scale_block > 0 ? spec_.scale_block / d : places;
    const GvqLookupTiles tiles = tiles_at(strip, row - strip * layout_.tile_rows);
    uint8_t* codes = thread_scratch<uint8_t, GvqLookupMatrix>(tiles.packets * kGvqPacket);
    for (int64_t column_group = 0; column_group < tiles.column_groups; ++column_group) {
      for (int64_t b = 0; b < tiles.packets; ++b) {
        load_gvq_packet(tiles.codes + column_group * tiles.column_group_bytes + b * packet_bytes_,
                        tiles.code_bits, codes + b * kGvqPacket);
      }
      const int8_t* table = tiles.tables + column_group * d * entries_;
      const uint8_t* scale_codes =
          tiles.block_scales + column_group * tiles.scale_column_group_bytes;
      for (int64_t first = 0; first < places; first += run) {
        const int64_t scale = first / run;
        const float block_scale =
            tiles.block_scales
                ? tiles.scale_values[column_group * 16 +
                                     (scale_codes[scale / 2] >> (scale % 2 * 4) & 15)]
                : 1.0f;
        for (int64_t p = first; p < first + run; ++p) {
          for (int64_t t = 0; t < d; ++t) {
            *out++ = tiles.scales[column_group] *
                     static_cast<float>(table[t * entries_ + codes[p]]) * block_scale;
          }
        }
      }
    }
  }

  uint64_t bytes() const override {
    return codes_.bytes() + tables_.bytes() + scales_.bytes() + block_scales_.bytes() +
           scale_values_.bytes();
  }
  std::string kernel() const override { return "codebook tiles by lookup"; }

 protected:
  bool multiply_one(const float* x, float* y, ThreadPool& pool) override {
    prepare_inputs(x);
    run_ranges(pool, out_features, [&](int64_t first, int64_t count) {
      constexpr int64_t kRows = 64;  // at a time, whose sums stay in the first-level cache
      alignas(64) float sums[kRows * kGvqLanes];
      for (int64_t row = first, rows = 0; row < first + count; row += rows) {
        const int64_t strip = row / layout_.tile_rows, r = row - strip * layout_.tile_rows;
        rows = std::min({kRows, layout_.tile_rows - r, first + count - row});
        std::fill_n(sums, rows * kGvqLanes, 0.0f);
        kernels().gvq_lookup.multiply(tiles_at(strip, r), rows, input(), sums);
        for (int64_t i = 0; i < rows; ++i) y[row + i] = sum_lanes(sums + i * kGvqLanes);
      }
    });
    return true;
  }

  std::optional<Int8Blocks> int8_blocks() const override {
    const int64_t column_groups =
        std::clamp<int64_t>(kCachedInputs / layout_.tile_columns, 1, layout_.column_groups);
    return Int8Blocks{.inputs = column_groups * layout_.tile_columns,
                      .chunk = static_cast<int>(std::gcd(inputs_of_scale(), kInt8Unit)),
                      .order = panel_order_.data()};
  }

  // Values of the codebooks as they are; only the product of the two scales is rounded.
  void decode_int8(int64_t p, int64_t first, const Int8Panel& panel) const override {
    const int64_t begin = p * kInt8Rows, end = std::min(begin + kInt8Rows, out_features);
    const int64_t scales = panel.inputs / inputs_of_scale();  // of a row
    float* row_scales = thread_scratch<float, GvqLookupMatrix>(kInt8Rows * scales);
    std::array<GvqStripRows, kInt8Rows> strips = {};
    int64_t count = 0;
    for (int64_t row = begin, rows = 0; row < end; row += rows) {
      const int64_t strip = row / layout_.tile_rows, r = row - strip * layout_.tile_rows;
      rows = std::min(layout_.tile_rows - r, end - row);
      const GvqLookupTiles tiles = some_column_groups(
          tiles_at(strip, r), first / layout_.tile_columns, panel.inputs / layout_.tile_columns);
      float* to = row_scales + (row - begin) * scales;
      if (tiles.block_scales) {
        kernels().gvq_lookup.decode_scales(tiles, rows, scales / tiles.column_groups, to, scales);
      } else {
        for (int64_t i = 0; i < rows; ++i) std::copy_n(tiles.scales, scales, to + i * scales);
      }
      strips[static_cast<size_t>(count++)] = {tiles, rows};
    }
    kernels().gvq_lookup.decode(strips.data(), count, layout_.codes_per_tile_row(), panel.codes);
    pack_scales(row_scales, end - begin, scales, panel);
  }

 private:
  // What a row's inputs share a scale with: a scale block, or the tile.
  int64_t inputs_of_scale() const {
    return spec_.scale_block > 0 ? spec_.scale_block : layout_.tile_columns;
  }

  // row_scales [rows, scales] -> the panel's, each repeated for all its chunks.
  static void pack_scales(const float* row_scales, int64_t rows, int64_t scales,
                          const Int8Panel& panel) {
    struct Packed;
    const int64_t chunks = panel.inputs / panel.chunk, each = chunks / scales;
    float* packed = thread_scratch<float, Packed>(scales * kInt8Rows);
    kernels().gemm.pack_f32(row_scales, rows, scales, packed);
    for (int64_t c = 0; c < chunks; ++c)
      std::copy_n(packed + c / each * kInt8Rows, kInt8Rows, panel.scales + c * kInt8Rows);
  }

  // Column groups [first, first + count) of `tiles`.
  GvqLookupTiles some_column_groups(GvqLookupTiles tiles, int64_t first, int64_t count) const {
    tiles.column_groups = count;
    tiles.codes += first * tiles.column_group_bytes;
    tiles.tables += first * tiles.vector_size * entries_;
    tiles.scales += first;
    if (tiles.block_scales) {
      tiles.block_scales += first * tiles.scale_column_group_bytes;
      tiles.scale_values += first * 16;
    }
    return tiles;
  }

  static float sum_lanes(const float* lanes) {
    float eight[8], four[4];
    for (int i = 0; i < 8; ++i) eight[i] = lanes[i] + lanes[i + 8];
    for (int i = 0; i < 4; ++i) four[i] = eight[i] + eight[i + 4];
    return (four[0] + four[2]) + (four[1] + four[3]);
  }

  int64_t strip_rows(int64_t strip) const {
    return std::min(layout_.tile_rows, out_features - strip * layout_.tile_rows);
  }
  // Where a row's part in a column group lies among those of all rows, in units of such parts.
  int64_t place_of(int64_t row, int64_t column_group) const {
    const int64_t strip = row / layout_.tile_rows, first = strip * layout_.tile_rows;
    return first * layout_.column_groups + column_group * strip_rows(strip) + (row - first);
  }
  // The strip's tiles from their row r on.
  GvqLookupTiles tiles_at(int64_t strip, int64_t r) const {
    const int64_t first = strip * layout_.column_groups;
    const int64_t place = place_of(strip * layout_.tile_rows + r, 0);
    GvqLookupTiles tiles = shape_;
    tiles.codes = codes_.data() + place * tiles.row_bytes;
    tiles.column_group_bytes = strip_rows(strip) * tiles.row_bytes;
    tiles.tables = tables_.data() + first * tiles.vector_size * entries_;
    tiles.scales = scales_.data() + first;
    if (spec_.scale_block > 0) {
      tiles.block_scales = block_scales_.data() + place * tiles.scale_row_bytes;
      tiles.scale_column_group_bytes = strip_rows(strip) * tiles.scale_row_bytes;
      tiles.scale_values = scale_values_.data() + first * 16;
      tiles.scale_bytes = scale_bytes_.data();
      tiles.scale_shifts = scale_shifts_.data();
    }
    return tiles;
  }

  void repack_codes(const QuantizedTensor& tensor, uint8_t* to) const {
    const int64_t places = layout_.codes_per_tile_row();
    for (int64_t row = 0; row < out_features; ++row) {
      const std::vector<uint16_t> codes = row_codes(tensor, row);
      for (int64_t column_group = 0; column_group < layout_.column_groups; ++column_group) {
        uint8_t* part = to + place_of(row, column_group) * shape_.row_bytes;
        for (int64_t p = 0; p < places; ++p) {
          store_gvq_code(part + p / kGvqPacket * packet_bytes_, shape_.code_bits,
                         gvq_position(shape_.code_bits, p % kGvqPacket),
                         codes[static_cast<size_t>(column_group * places + p)]);
        }
      }
    }
  }

  void repack_codebooks(const QuantizedTensor& tensor, int64_t tiles, int8_t* to) const {
    const int64_t d = layout_.vector_size, k = spec_.centroids();
    const std::byte* values = tensor.part("codebooks").bytes.data();
    for (int64_t tile = 0; tile < tiles; ++tile, values += k * d) {
      for (int64_t i = 0; i < k * d; ++i)
        to[(tile * d + i % d) * entries_ + i / d] = static_cast<int8_t>(values[i]);
    }
  }

  // Each tile's part of a row begins on a byte; four bytes are readable wherever a code is.
  void make_block_scales(const QuantizedTensor& tensor, const MatrixArrays& arrays, int64_t tiles) {
    shape_.scale_row_bytes = (layout_.tile_columns / spec_.scale_block + 1) / 2;
    constexpr int64_t kReadable = 4;
    block_scales_ = arrays.get<uint8_t>(
        "gvq_lookup1.block_scales",
        out_features * layout_.column_groups * shape_.scale_row_bytes + kReadable,
        [&](uint8_t* to) { repack_block_scales(tensor, to); });
    scale_values_ = arrays.get<float>("gvq_lookup1.scale_values", tiles * 16, [&](float* to) {
      for (int64_t tile = 0; tile < tiles; ++tile) {
        to = std::ranges::copy(tile_block_scales(tensor, tile / layout_.column_groups,
                                                 tile % layout_.column_groups),
                               to)
                 .out;
      }
    });
    for (int64_t packet = 0; packet < shape_.packets; ++packet) {
      const ScalePlaces places = scale_places(spec_, packet);
      scale_bytes_.push_back(places.byte);
      scale_shifts_.insert(scale_shifts_.end(), places.shifts.begin(), places.shifts.end());
    }
  }

  void repack_block_scales(const QuantizedTensor& tensor, uint8_t* to) const {
    const int64_t per_tile = layout_.tile_columns / spec_.scale_block;
    std::vector<uint16_t> codes(static_cast<size_t>(in_features / spec_.scale_block));
    for (int64_t row = 0; row < out_features; ++row) {
      unpack_row(part_row(tensor, "block_scales", row), GvqSpec::kBlockScaleBits, codes);
      for (int64_t i = 0; i < std::ssize(codes); ++i) {
        const int64_t j = i % per_tile;
        uint8_t& byte = to[place_of(row, i / per_tile) * shape_.scale_row_bytes + j / 2];
        byte = static_cast<uint8_t>(byte | codes[static_cast<size_t>(i)] << (j % 2 * 4));
      }
    }
  }

  // Which input each position of each column group has, which unit of 32 each lane; past the end
  // those after the last, which are zero.
  void plan_inputs() {
    const int64_t d = layout_.vector_size, units = in_features / kUniformUnit;
    const int64_t packets = layout_.column_groups * shape_.packets;
    rounded_codes_ = AlignedBuffer<int8_t>(in_features + 1);
    rounded_scales_ = AlignedBuffer<float>(units + 1);
    rounded_sums_ = AlignedBuffer<int32_t>(units);
    input_codes_ = AlignedBuffer<int8_t>(packets * d * kGvqPacket);
    input_scales_ = AlignedBuffer<float>(packets * kGvqLanes);
    input_offsets_ = AlignedBuffer<int32_t>(packets * kGvqLanes);
    for (int64_t packet = 0; packet < packets; ++packet) {
      const int64_t column_group = packet / shape_.packets,
                    first = packet % shape_.packets * kGvqPacket;
      const auto input_at = [&](int64_t position, int64_t t) {
        const int64_t place = first + gvq_place(shape_.code_bits, position);
        return place < layout_.codes_per_tile_row()
                   ? column_group * layout_.tile_columns + place * d + t
                   : in_features;
      };
      for (int64_t t = 0; t < d; ++t) {
        for (int64_t position = 0; position < kGvqPacket; ++position) {
          input_of_code_.push_back(static_cast<int32_t>(input_at(position, t)));
        }
      }
      for (int64_t lane = 0; lane < kGvqLanes; ++lane) {
        unit_of_lane_.push_back(static_cast<int32_t>(input_at(4 * lane, 0) / kUniformUnit));
      }
    }
  }

  void prepare_inputs(const float* x) {
    kernels().uniform.quantize(
        x, in_features, kUniformUnit,
        {rounded_codes_.data(), rounded_scales_.data(), rounded_sums_.data()});
    const int64_t d = layout_.vector_size;
    for (size_t i = 0; i < input_of_code_.size(); ++i) {
      input_codes_.data()[i] = rounded_codes_.data()[input_of_code_[i]];
    }
    for (size_t i = 0; i < unit_of_lane_.size(); ++i) {
      input_scales_.data()[i] = rounded_scales_.data()[unit_of_lane_[i]];
    }
    for (int64_t i = 0; i < input_offsets_.size(); ++i) {
      const int64_t packet = i / kGvqLanes, lane = i % kGvqLanes;
      const int8_t* codes = input_codes_.data() + packet * d * kGvqPacket + 4 * lane;
      int32_t sum = 0;
      for (int64_t t = 0; t < d; ++t, codes += kGvqPacket) {
        sum += codes[0] + codes[1] + codes[2] + codes[3];
      }
      input_offsets_[i] = -128 * sum;
    }
  }
  GvqLookupInput input() const {
    return {input_codes_.data(), input_scales_.data(), input_offsets_.data()};
  }

  GvqSpec spec_;
  GvqLayout layout_;
  GvqLookupTiles shape_ = {};  // what all strips have in common
  int64_t packet_bytes_ = 0, entries_ = 0;
  Array<uint8_t> codes_;
  Array<int8_t> tables_;         // [tiles, D, entries]
  Array<float> scales_;          // [tiles]
  Array<uint8_t> block_scales_;  // [out, scale_row_bytes], in the order of the codes
  Array<float> scale_values_;    // [tiles, 16]
  std::vector<int32_t> scale_bytes_, scale_shifts_;
  // One token's activations: rounded, then in the order of the packets.
  AlignedBuffer<int8_t> rounded_codes_, input_codes_;
  AlignedBuffer<float> rounded_scales_, input_scales_;
  AlignedBuffer<int32_t> rounded_sums_, input_offsets_;
  std::vector<int32_t> input_of_code_, unit_of_lane_;
  std::array<uint8_t, kInt8Unit> panel_order_;  // of a unit's inputs in int8 panels
};

}  // namespace

bool gvq_lookup_fits(const QuantizedTensor& tensor) {
  const auto& spec = tensor.term<GvqSpec>();
  const GvqLayout layout = gvq_layout(spec, tensor.out_features, tensor.in_features);
  if (spec.fp16_codebooks || spec.rank > 0 || spec.index_bits > 8 ||
      code_bits_of(spec) > kernels().gvq_lookup.most_code_bits ||
      layout.tile_columns % kUniformUnit != 0) {
    return false;
  }
  if (spec.scale_block == 0) return true;
  if (spec.scale_block % lane_inputs(spec) != 0) return false;
  for (int64_t packet = 0; packet * kGvqPacket < layout.codes_per_tile_row(); ++packet) {
    const auto shifts = scale_places(spec, packet).shifts;
    if (*std::max_element(shifts.begin(), shifts.end()) > 28) return false;
  }
  return true;
}

std::unique_ptr<WeightMatrix> make_gvq_lookup_matrix(const QuantizedTensor& tensor,
                                                     const MatrixArrays& arrays) {
  return std::make_unique<GvqLookupMatrix>(tensor, arrays);
}

}  // namespace bitsmith
