#include "runtime/kernels/additive_matrix.h"
#include "runtime/kernels/matrices.h"

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
  }

  void decode_row(int64_t row, float* out) const override {
    const Code* codes = codes_.data() + row * codes_per_row();
    kernels().gather.decode_row(codebooks_, codes, 1, scales_[row], out);
  }

  uint64_t bytes() const override { return codes_.bytes() + vectors_.bytes() + scales_.bytes(); }

 protected:
  bool multiply_one(const float* x, float* y, ThreadPool& pool) override {
    run_ranges(pool, out_features, [&](int64_t first, int64_t count) {
      kernels().gather.gemv(codebooks_, codes_.data() + first * codes_per_row(),
                            scales_.data() + first, count, x, y + first);
    });
    return true;
  }

 private:
  int64_t codes_per_row() const { return codebooks_.groups * codebooks_.num_codebooks; }

  AlignedBuffer<Code> codes_;  // [out_features, groups, M]
};

}  // namespace

std::unique_ptr<WeightMatrix> make_gather_matrix(const QuantizedTensor& tensor) {
  if (std::get<AdditiveSpec>(tensor.spec).nbits_per_codebook <= 8) {
    return std::make_unique<GatherMatrix<uint8_t>>(tensor);
  }
  return std::make_unique<GatherMatrix<uint16_t>>(tensor);
}

}  // namespace bitsmith
