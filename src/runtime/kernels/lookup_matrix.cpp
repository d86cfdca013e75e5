#include <cmath>

#include "runtime/kernels/additive_layout.h"
#include "runtime/kernels/additive_matrix.h"
#include "runtime/kernels/matrices.h"

namespace bitsmith {
namespace {

class LookupMatrix final : public AdditiveMatrix {
 public:
  explicit LookupMatrix(const QuantizedTensor& tensor) : AdditiveMatrix(tensor, kLookupRows) {
    layout_.num_codebooks = codebooks_.num_codebooks;
    layout_.in_group_size = codebooks_.in_group_size;
    layout_.groups = codebooks_.groups;
    layout_.tile_groups = kLookupTile / layout_.num_codebooks;
    repack_codes(tensor);
    transpose_codebooks();
    layout_.codes = codes_.data();
    layout_.codebooks = dot_codebooks_.data();
    layout_.scales = scales_.data();
    tables_ = AlignedBuffer<uint8_t>(codes_per_row() * kLookupTable);
    steps_ = AlignedBuffer<float>(tiles());
  }

  // The tables are made and read again in each multiply, but inside the caches.
  uint64_t bytes() const override {
    return codes_.bytes() + dot_codebooks_.bytes() + scales_.bytes();
  }

 protected:
  bool multiply_one(const float* x, float* y, ThreadPool& pool) override {
    run_ranges(pool, tiles(), [&](int64_t first, int64_t count) {
      kernels().lookup.build_tables(layout_, x, first, count, tables_.data(), steps_.data());
    });
    run_ranges(pool, blocks(), [&](int64_t first, int64_t count) {
      const int64_t whole = std::min(first + count, out_features / kLookupRows) - first;
      lookup(first, whole, y + first * kLookupRows);
      if (whole == count) return;
      const int64_t row = (first + whole) * kLookupRows;  // the last block's rows that exist
      float last[kLookupRows];
      lookup(first + whole, 1, last);
      std::copy_n(last, out_features - row, y + row);
    });
    return true;
  }

  StoredRow stored_row(int64_t row) const override {
    const int64_t block = row / kLookupRows;
    return {codes_.data() + block * codes_per_row() * kLookupRows + lookup_byte(row % kLookupRows),
            kLookupRows};
  }

 private:
  int64_t blocks() const { return (out_features + kLookupRows - 1) / kLookupRows; }
  int64_t tiles() const { return (layout_.groups + layout_.tile_groups - 1) / layout_.tile_groups; }

  void lookup(int64_t first, int64_t count, float* y) const {
    kernels().lookup.gemv(layout_, tables_.data(), steps_.data(), first, count, y);
  }

  void repack_codes(const QuantizedTensor& tensor) {
    codes_ = AlignedBuffer<uint8_t>(blocks() * codes_per_row() * kLookupRows);
    for (int64_t row = 0; row < out_features; ++row) {
      const std::vector<uint16_t> codes = row_codes(tensor, row);
      uint8_t* out = codes_.data() + row / kLookupRows * codes_per_row() * kLookupRows +
                     lookup_byte(row % kLookupRows);
      for (const uint16_t code : codes) {
        *out = static_cast<uint8_t>(code);
        out += kLookupRows;
      }
    }
  }

  void transpose_codebooks() {
    const int64_t size = layout_.in_group_size;
    dot_codebooks_ = AlignedBuffer<float>(layout_.num_codebooks * size * kLookupEntries);
    double largest = 0;
    for (int64_t m = 0; m < layout_.num_codebooks; ++m) {
      for (int64_t e = 0; e < codebooks_.entries; ++e) {
        double square = 0;
        for (int64_t i = 0; i < size; ++i) {
          const float value = fp16_to_float(vectors_[(m * codebooks_.entries + e) * size + i]);
          dot_codebooks_[(m * size + i) * kLookupEntries + lookup_place(e)] = value;
          square += double{value} * value;
        }
        largest = std::max(largest, square);
      }
    }
    layout_.largest_norm = static_cast<float>(std::sqrt(largest));
  }

  LookupLayout layout_ = {};
  AlignedBuffer<uint8_t> codes_;
  AlignedBuffer<float> dot_codebooks_;  // transposed for building tables
  AlignedBuffer<uint8_t> tables_;       // one token's
  AlignedBuffer<float> steps_;
};

}  // namespace

std::unique_ptr<WeightMatrix> make_lookup_matrix(const QuantizedTensor& tensor) {
  return std::make_unique<LookupMatrix>(tensor);
}

}  // namespace bitsmith
