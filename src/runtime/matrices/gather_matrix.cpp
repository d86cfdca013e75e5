#include "runtime/matrices/additive_matrix.h"
#include "runtime/matrices/matrices.h"

namespace bitsmith {
namespace {

template <typename Code>  // uint8_t or uint16_t
class GatherMatrix final : public AdditiveMatrix {
 public:
  explicit GatherMatrix(const QuantizedTensor& tensor) : AdditiveMatrix(tensor) {
    codes_ = AlignedBuffer<Code>(out_features * codes_per_row());
    for (int64_t row = 0; row < out_features; ++row) {
      const std::vector<uint16_t> codes = row_codes(tensor, row);
      std::copy(codes.begin(), codes.end(), codes_.data() + row * codes_per_row());
    }
    if (tensor.term<AdditiveSpec>().scale_bits == 0) return;
    const TensorView& values = tensor.part("group_scale_values");
    group_scales_ = AlignedBuffer<float>(values.shape[0]);
    decode_to_float(values.dtype, values.bytes,
                    {group_scales_.data(), static_cast<size_t>(group_scales_.size())});
    codebooks_.group_scales = group_scales_.data();
    scale_codes_ = AlignedBuffer<uint8_t>(out_features * codebooks_.groups);
    for (int64_t row = 0; row < out_features; ++row) {
      const std::vector<uint16_t> codes = additive_scale_codes(tensor, row);
      std::copy(codes.begin(), codes.end(), scale_codes_.data() + row * codebooks_.groups);
    }
  }

  void decode_row(int64_t row, float* out) const override {
    const Code* codes = codes_.data() + row * codes_per_row();
    kernels().gather.decode_row(codebooks_, codes, 1, scale_codes_of(row), scales_[row], out);
  }

  uint64_t bytes() const override {
    return codes_.bytes() + centroids_.bytes() + scales_.bytes() + scale_codes_.bytes();
  }

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

  AlignedBuffer<Code> codes_;           // [out_features, groups, M]
  AlignedBuffer<float> group_scales_;   // [2^S]; without group scales these are empty
  AlignedBuffer<uint8_t> scale_codes_;  // [out_features, groups]
};

}  // namespace

std::unique_ptr<WeightMatrix> make_gather_matrix(const QuantizedTensor& tensor) {
  if (tensor.term<AdditiveSpec>().nbits_per_codebook <= 8) {
    return std::make_unique<GatherMatrix<uint8_t>>(tensor);
  }
  return std::make_unique<GatherMatrix<uint16_t>>(tensor);
}

}  // namespace bitsmith
