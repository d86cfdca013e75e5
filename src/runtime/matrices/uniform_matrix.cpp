#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/half.h"
#include "format/bit_packing.h"
#include "kernels/aligned_buffer.h"
#include "kernels/uniform_layout.h"
#include "runtime/matrices/matrices.h"
#include "runtime/matrices/panel_matrix.h"

namespace bitsmith {
namespace {

int64_t divide_up(int64_t n, int64_t d) { return (n + d - 1) / d; }

class UniformMatrix final : public PanelMatrix {
 public:
  UniformMatrix(const QuantizedTensor& tensor, const MatrixArrays& arrays)
      : PanelMatrix(tensor.out_features, tensor.in_features) {
    const auto& spec = tensor.term<UniformSpec>();
    bundles_.nbits = spec.nbits;
    bundles_.in_features = in_features;
    bundles_.group_size = spec.group_size > 0 ? spec.group_size : in_features;
    bundles_.groups = in_features / bundles_.group_size;
    bundles_.units = divide_up(in_features, kUniformUnit);
    bundles_.zero = 1 << (spec.nbits - 1);
    const int64_t run =
        bundles_.groups == 1 ? kUniformUnit : std::gcd(bundles_.group_size, kUniformUnit);
    bundles_.chunk = run >= 4 ? static_cast<int>(run) : 0;

    const int64_t rows = divide_up(out_features, kUniformRows) * kUniformRows;
    codes_ =
        arrays.get<uint8_t>("uniform1.codes", rows / kUniformRows * bundles_.units * unit_bytes(),
                            [&](uint8_t* to) { repack_codes(tensor, to); });
    scales_ = arrays.get<uint16_t>("uniform1.scales", rows * bundles_.groups,
                                   [&](uint16_t* to) { repack_scales(tensor, to); });
    if (spec.zero_points) {
      zeros_ = arrays.get<uint8_t>("uniform1.zeros", rows * bundles_.groups,
                                   [&](uint8_t* to) { repack_zeros(tensor, to); });
    }
    bundles_.codes = codes_.data();
    bundles_.scales = scales_.data();
    bundles_.zeros = zeros_.data();

    if (bundles_.chunk > 0) {
      input_codes_ = AlignedBuffer<int8_t>(bundles_.units * kUniformUnit);
      input_scales_ = AlignedBuffer<float>(bundles_.units);
      input_sums_ = AlignedBuffer<int32_t>(bundles_.units * (kUniformUnit / bundles_.chunk));
    }
  }

  void decode_row(int64_t row, float* out) const override {
    const int64_t bundle = row / kUniformRows, r = row % kUniformRows;
    for (int64_t i = 0; i < in_features; ++i) {
      const uint8_t* unit =
          codes_.data() + (bundle * bundles_.units + i / kUniformUnit) * unit_bytes();
      const int64_t at = scale_index(row, i / bundles_.group_size);
      const int zero = zeros_.size() > 0 ? zeros_[at] : bundles_.zero;
      const int code = load_code(unit, bundles_.nbits, r, i % kUniformUnit);
      out[i] = fp16_to_float(scales_[at]) * static_cast<float>(code - zero);
    }
  }

  uint64_t bytes() const override { return codes_.bytes() + scales_.bytes() + zeros_.bytes(); }
  std::string kernel() const override {
    return bundles_.chunk > 0 ? "uniform" : "uniform, decoded row panels";
  }

 protected:
  bool multiply_one(const float* x, float* y, ThreadPool& pool) override {
    if (bundles_.chunk == 0) return false;
    const QuantizedInput input = {input_codes_.data(), input_scales_.data(), input_sums_.data()};
    kernels().uniform.quantize(x, in_features, bundles_.chunk, input);
    const int64_t bundles = divide_up(out_features, kUniformRows);
    run_ranges(pool, bundles, [&](int64_t first, int64_t count) {
      const int64_t whole = std::min(first + count, out_features / kUniformRows) - first;
      kernels().uniform.gemv(bundles_, first, whole, input, y + first * kUniformRows);
      if (whole == count) return;
      const int64_t row = (first + whole) * kUniformRows;  // the last bundle's rows that exist
      float last[kUniformRows];
      kernels().uniform.gemv(bundles_, first + whole, 1, input, last);
      std::copy_n(last, out_features - row, y + row);
    });
    return true;
  }

  void decode_panel(int64_t p, float* panel) const override {
    constexpr int64_t kBundles = kPanelRows / kUniformRows;
    const int64_t bundles = divide_up(out_features, kUniformRows);
    if (p * kBundles + kBundles > bundles) {
      std::fill_n(panel, in_features * kPanelRows, 0.0f);
    }
    for (int64_t t = 0; t < kBundles && p * kBundles + t < bundles; ++t) {
      kernels().uniform.decode_bundle(bundles_, p * kBundles + t, panel + t * kUniformRows,
                                      kPanelRows);
    }
  }

  std::optional<Int8Blocks> int8_blocks() const override {
    if (!codes_are_int8()) return PanelMatrix::int8_blocks();
    return Int8Blocks{.inputs = std::min(kCachedInputs, bundles_.units * kUniformUnit),
                      .chunk = bundles_.chunk,
                      .same_as_one = true};
  }

  void decode_int8(int64_t p, int64_t first, const Int8Panel& panel) const override {
    if (!codes_are_int8()) return PanelMatrix::decode_int8(p, first, panel);
    constexpr int64_t kBundles = kInt8Rows / kUniformRows;
    const int64_t bundle = p * kBundles, bundles = divide_up(out_features, kUniformRows);
    if (bundle + kBundles > bundles) {
      std::fill_n(panel.codes, panel.inputs * kInt8Rows, int8_t{0});
      std::fill_n(panel.scales, panel.inputs / panel.chunk * kInt8Rows, 0.0f);
    }
    for (int64_t t = 0; t < kBundles && bundle + t < bundles; ++t) {
      kernels().uniform.decode_int8(bundles_, bundle + t, first, panel, t * kUniformRows);
    }
  }

 private:
  // Less their zero points.
  bool codes_are_int8() const {
    return bundles_.chunk > 0 && (bundles_.nbits < 8 || zeros_.size() == 0);
  }
  int64_t unit_bytes() const { return bundles_.nbits * kUniformField; }
  int64_t scale_index(int64_t row, int64_t group) const {
    return (row / kUniformRows * bundles_.groups + group) * kUniformRows + row % kUniformRows;
  }

  void repack_codes(const QuantizedTensor& tensor, uint8_t* to) const {
    std::vector<std::vector<FieldPlace>> places;
    for (int64_t i = 0; i < kUniformUnit; ++i) places.push_back(field_places(bundles_.nbits, i));
    for (int64_t row = 0; row < out_features; ++row) {
      const std::vector<uint16_t> codes = row_codes(tensor, row);
      const int64_t bundle = row / kUniformRows, r = row % kUniformRows;
      for (int64_t i = 0; i < in_features; ++i) {
        uint8_t* unit = to + (bundle * bundles_.units + i / kUniformUnit) * unit_bytes();
        store_code(unit, places[i % kUniformUnit], r, codes[static_cast<size_t>(i)]);
      }
    }
  }

  void repack_scales(const QuantizedTensor& tensor, uint16_t* to) const {
    for (int64_t row = 0; row < out_features; ++row) {
      const std::byte* scales = part_row(tensor, "scales", row).data();
      for (int64_t g = 0; g < bundles_.groups; ++g)
        std::memcpy(to + scale_index(row, g), scales + 2 * g, 2);
    }
  }

  void repack_zeros(const QuantizedTensor& tensor, uint8_t* to) const {
    std::vector<uint16_t> zeros(static_cast<size_t>(bundles_.groups));
    for (int64_t row = 0; row < out_features; ++row) {
      unpack_row(part_row(tensor, "zeros", row), bundles_.nbits, zeros);
      for (int64_t g = 0; g < bundles_.groups; ++g)
        to[scale_index(row, g)] = static_cast<uint8_t>(zeros[static_cast<size_t>(g)]);
    }
  }

  UniformBundles bundles_ = {};
  Array<uint8_t> codes_, zeros_;
  Array<uint16_t> scales_;
  AlignedBuffer<int8_t> input_codes_;  // one token's activations
  AlignedBuffer<float> input_scales_;
  AlignedBuffer<int32_t> input_sums_;
};

}  // namespace

std::unique_ptr<WeightMatrix> make_matrix(const UniformSpec&, const QuantizedTensor& tensor,
                                          const MatrixArrays& arrays) {
  return std::make_unique<UniformMatrix>(tensor, arrays);
}

}  // namespace bitsmith
