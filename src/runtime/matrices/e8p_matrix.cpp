#include <algorithm>
#include <cstdlib>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "runtime/matrices/matrices.h"
#include "runtime/matrices/panel_matrix.h"

namespace bitsmith {
namespace {

// The codebooks in the layouts of e8p_gemv.h.
class LatticeTables {
 public:
  LatticeTables() : levels_(256), magnitudes_(256 * kE8Size), signs_(512 * kE8Size) {
    for (int64_t k = 0; k < 256; ++k) {
      for (int64_t i = 0; i < kE8Size; ++i) {
        const int level = (e8p_patterns()[static_cast<size_t>(k)][static_cast<size_t>(i)] - 1) / 2;
        levels_[k] = static_cast<uint16_t>(levels_[k] | level << (2 * i));
        magnitudes_[k * kE8Size + i] = static_cast<int8_t>(4 * level);
      }
    }
    // Bits 0..6 of a code do not matter here.
    for (int64_t upper = 0; upper < 512; ++upper) {
      const E8Vector point = e8p_point(static_cast<uint16_t>(upper << 7));
      const int shift = upper >= 256 ? -1 : 1;
      for (int64_t i = 0; i < kE8Size; ++i) {
        const int sign = point[static_cast<size_t>(i)] < 0 ? -1 : 1;
        signs_[upper * kE8Size + i] = static_cast<int8_t>(sign * (2 + sign * shift));
      }
    }
  }

  E8pTables tables() const {
    return {levels_.data(), magnitudes_.data(), signs_.data(), e8_short_vectors()[0].data()};
  }

 private:
  AlignedBuffer<uint16_t> levels_;
  AlignedBuffer<int8_t> magnitudes_, signs_;
};

E8pTables lattice_tables() {
  static const LatticeTables all;
  return all.tables();
}

class E8pMatrix final : public PanelMatrix {
 public:
  E8pMatrix(const QuantizedTensor& tensor, const MatrixArrays& arrays)
      : PanelMatrix(tensor.out_features, tensor.in_features),
        spec_(tensor.term<E8pSpec>()),
        per_row_(in_features / kE8Size),
        blocks_((per_row_ + kE8pBlock - 1) / kE8pBlock),
        tables_(lattice_tables()) {
    const int64_t codes = out_features * per_row_;
    codes_ = arrays.get<uint16_t>("e8p1.codes", codes + kE8pReadable / 2,
                                  [&](uint16_t* to) { copy_codes(tensor, 0, to); });
    if (spec_.bits == 3) {
      short_codes_ = arrays.get<uint8_t>("e8p1.short_codes", codes + kE8pReadable,
                                         [&](uint8_t* to) { copy_codes(tensor, 1, to); });
    }
    if (spec_.bits == 4) {
      residual_codes_ = arrays.get<uint16_t>("e8p1.residual_codes", codes + kE8pReadable / 2,
                                             [&](uint16_t* to) { copy_codes(tensor, 1, to); });
    }
    for (int stage = 0; stage < spec_.stages(); ++stage) {
      scales_[stage] =
          arrays.get<float>(concat("e8p1.scales", stage), out_features, [&](float* to) {
            for (int64_t row = 0; row < out_features; ++row)
              to[row] = load_fp16(part_row(tensor, "scales", row), stage);
          });
    }
    for (int64_t i = 0; i < kE8pInputs; ++i) {
      input_of_place_[static_cast<size_t>(kernels().e8p.place(i))] = static_cast<uint8_t>(i);
    }
    input_codes_ = AlignedBuffer<int8_t>(blocks_ * kE8pInputs);
    placed_codes_ = AlignedBuffer<int8_t>(blocks_ * kE8pInputs);
    code_sums_ = AlignedBuffer<int16_t>(blocks_ * kE8pBlock);
    input_scales_ = AlignedBuffer<float>(blocks_ * kE8pInputs / kUniformUnit);
    wide_sums_ = AlignedBuffer<int32_t>(blocks_ * kE8pBlock);
  }

  void decode_row(int64_t row, float* out) const override {
    add_stage<true>(e8p_points().data(), codes_.data() + row * per_row_, scales_[0][row], out);
    if (spec_.bits == 3) {
      add_stage<false>(e8_short_points().data(), short_codes_.data() + row * per_row_,
                       scales_[1][row], out);
    }
    if (spec_.bits == 4) {
      add_stage<false>(e8p_points().data(), residual_codes_.data() + row * per_row_,
                       scales_[1][row], out);
    }
  }

  uint64_t bytes() const override {
    return codes_.bytes() + short_codes_.bytes() + residual_codes_.bytes() + scales_[0].bytes() +
           scales_[1].bytes();
  }
  std::string kernel() const override { return "lattice"; }

 protected:
  bool multiply_one(const float* x, float* y, ThreadPool& pool) override {
    prepare_inputs(x);
    run_ranges(pool, out_features, [&](int64_t first, int64_t count) {
      const E8pGemvKernels& own = kernels().e8p;
      own.multiply(tables_, codes_.data() + first * per_row_, per_row_, count, input(), y + first);
      for (int64_t r = first; r < first + count; ++r) y[r] *= scales_[0][r];
      if (spec_.stages() == 1) return;
      float* second = thread_scratch<float, E8pMatrix>(count);
      if (spec_.bits == 3) {
        own.multiply_short(tables_, short_codes_.data() + first * per_row_, per_row_, count,
                           input(), second);
      } else {
        own.multiply(tables_, residual_codes_.data() + first * per_row_, per_row_, count, input(),
                     second);
      }
      for (int64_t r = 0; r < count; ++r) y[first + r] += scales_[1][first + r] * second[r];
    });
    return true;
  }

 private:
  template <typename Code>
  void copy_codes(const QuantizedTensor& tensor, int stage, Code* to) const {
    for (int64_t row = 0; row < out_features; ++row)
      to = std::ranges::copy(e8p_row_codes(tensor, row, stage), to).out;
  }

  template <bool kFirst, typename Code>
  void add_stage(const float* points, const Code* codes, float scale, float* out) const {
    for (int64_t j = 0; j < per_row_; ++j, out += kE8Size) {
      const float* point = points + int64_t{codes[j]} * kE8Size;
      for (int64_t d = 0; d < kE8Size; ++d) {
        const float value = scale * point[d];
        out[d] = kFirst ? value : out[d] + value;
      }
    }
  }

  void prepare_inputs(const float* x) {
    kernels().uniform.quantize(x, in_features, kE8Size,
                               {input_codes_.data(), input_scales_.data(), wide_sums_.data()});
    for (int64_t i = 0; i < blocks_ * kE8pInputs; ++i) {
      const int64_t block = i / kE8pInputs * kE8pInputs;
      placed_codes_[i] = input_codes_[block + input_of_place_[static_cast<size_t>(i - block)]];
    }
    for (int64_t j = 0; j < per_row_; ++j) code_sums_[j] = static_cast<int16_t>(wide_sums_[j]);
  }
  E8pInput input() const {
    return {input_codes_.data(), placed_codes_.data(), code_sums_.data(), input_scales_.data()};
  }

  E8pSpec spec_;
  int64_t per_row_, blocks_;
  E8pTables tables_;
  Array<uint16_t> codes_, residual_codes_;  // [out, per_row]
  Array<uint8_t> short_codes_;
  Array<float> scales_[2];  // of each stage [out]
  // One token's activations.
  uint8_t input_of_place_[kE8pInputs];
  AlignedBuffer<int8_t> input_codes_, placed_codes_;
  AlignedBuffer<int16_t> code_sums_;
  AlignedBuffer<float> input_scales_;
  AlignedBuffer<int32_t> wide_sums_;
};

}  // namespace

std::unique_ptr<WeightMatrix> make_matrix(const E8pSpec&, const QuantizedTensor& tensor,
                                          const MatrixArrays& arrays) {
  return std::make_unique<E8pMatrix>(tensor, arrays);
}

}  // namespace bitsmith
