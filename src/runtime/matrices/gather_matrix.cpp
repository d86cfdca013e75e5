#include "runtime/matrices/additive_matrix.h"
#include "runtime/matrices/matrices.h"

namespace bitsmith {
namespace {

template <typename Code>  // uint8_t or uint16_t
class GatherMatrix final : public AdditiveMatrix {
 public:
  GatherMatrix(const QuantizedTensor& tensor, const MatrixArrays& arrays)
      : AdditiveMatrix(tensor, arrays) {
    codes_ = arrays.indices<Code>("gather1.codes", out_features * codes_per_row(),
                                  codebooks_.num_centroids, [&](Code* to) {
                                    for (int64_t row = 0; row < out_features; ++row)
                                      to = std::ranges::copy(row_codes(tensor, row), to).out;
                                  });
    const int scale_bits = tensor.term<AdditiveSpec>().scale_bits;
    if (scale_bits == 0) return;
    const int64_t values = int64_t{1} << scale_bits;
    group_scales_ = arrays.get<float>("gather1.group_scales", values, [&](float* to) {
      const TensorView& part = tensor.part("group_scale_values");
      decode_to_float(part.dtype, part.bytes, {to, static_cast<size_t>(values)});
    });
    codebooks_.group_scales = group_scales_.data();
    scale_codes_ = arrays.indices<uint8_t>(
        "gather1.scale_codes", out_features * codebooks_.groups, values, [&](uint8_t* to) {
          for (int64_t row = 0; row < out_features; ++row)
            to = std::ranges::copy(additive_scale_codes(tensor, row), to).out;
        });
  }

  void decode_row(int64_t row, float* out) const override {
    const Code* codes = codes_.data() + row * codes_per_row();
    kernels().gather.decode_row(codebooks_, codes, 1, scale_codes_of(row), scales_[row], out);
  }

  uint64_t bytes() const override {
    return codes_.bytes() + centroids_.bytes() + scales_.bytes() + scale_codes_.bytes();
  }
  std::string kernel() const override { return "additive gather"; }

 protected:
  bool multiply_one(const float* x, float* y, ThreadPool& pool) override {
    run_ranges(pool, out_features, [&](int64_t first, int64_t count) {
      kernels().gather.gemv(codebooks_, codes_.data() + first * codes_per_row(),
                            scale_codes_of(first), scales_.data() + first, count, x, y + first);
    });
    return true;
  }

 private:
  int64_t codes_per_row() const { return codebooks_.groups * codebooks_.num_codebooks; }

  const uint8_t* scale_codes_of(int64_t row) const {
    return codebooks_.group_scales == nullptr ? nullptr
                                              : scale_codes_.data() + row * codebooks_.groups;
  }

  Array<Code> codes_;           // [out_features, groups, M]
  Array<float> group_scales_;   // [2^S]; without group scales these are empty
  Array<uint8_t> scale_codes_;  // [out_features, groups]
};

}  // namespace

std::unique_ptr<WeightMatrix> make_gather_matrix(const QuantizedTensor& tensor,
                                                 const MatrixArrays& arrays) {
  if (tensor.term<AdditiveSpec>().nbits_per_codebook <= 8) {
    return std::make_unique<GatherMatrix<uint8_t>>(tensor, arrays);
  }
  return std::make_unique<GatherMatrix<uint16_t>>(tensor, arrays);
}

}  // namespace bitsmith
