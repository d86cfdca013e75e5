// A matrix that is held rotated: y = R_out^T V R_in x, with V a sum of terms.
#include <algorithm>

#include "base/error.h"
#include "format/kinds/hadamard_matrix.h"
#include "runtime/matrices/matrices.h"

namespace bitsmith {
namespace {

// task(row, begin, end) for shares of the n numbers of each row, in whole blocks.
template <typename Task>
void each_share(int64_t rows, int64_t n, int64_t block, ThreadPool& pool, const Task& task) {
  constexpr int64_t kShare = 4096;
  const int64_t share = (kShare + block - 1) / block * block, shares = (n + share - 1) / share;
  pool.run(rows * shares, [&](int64_t i) {
    const int64_t begin = i % shares * share;
    task(i / shares, begin, std::min(n, begin + share));
  });
}

class RotatedMatrix final : public WeightMatrix {
 public:
  RotatedMatrix(std::unique_ptr<WeightMatrix> inner, const QuantizedTensor& tensor,
                const MatrixArrays& arrays)
      : inner_(std::move(inner)), output_block_(tensor.spec.transform->out_block) {
    out_features = inner_->out_features;
    in_features = inner_->in_features;
    input_.block = tensor.spec.transform->in_block;
    if (input_.block > 0) {
      const auto signs = arrays.get<float>("rotation1.input_signs", in_features, [&](float* to) {
        std::ranges::copy(input_signs(tensor), to);
      });
      input_.signs.assign(signs.begin(), signs.end());
    }
    if (output_block_ > 0) {
      output_signs_ = arrays.get<float>("rotation1.output_signs", out_features, [&](float* to) {
        std::ranges::copy(output_signs(tensor), to);
      });
    }
  }

  const InputRotation* input_rotation() const override {
    return input_.signs.empty() ? nullptr : &input_;
  }

  void multiply(Products products, const float* x, int64_t tokens, float* y,
                ThreadPool& pool) override {
    if (!input_rotation()) return multiply_rotated(products, x, tokens, y, pool);
    rotated_.resize(static_cast<size_t>(tokens * in_features));
    input_.apply(x, tokens, rotated_.data(), pool);
    multiply_rotated(products, rotated_.data(), tokens, y, pool);
  }

  void multiply_rotated(Products products, const float* x, int64_t tokens, float* y,
                        ThreadPool& pool) override {
    inner_->multiply(products, x, tokens, y, pool);
    if (output_block_ == 0) return;
    const float* signs = output_signs_.data();
    each_share(tokens, out_features, output_block_, pool,
               [&](int64_t token, int64_t begin, int64_t end) {
                 float* row = y + token * out_features;
                 hadamard_along_rows(row + begin, 1, end - begin, output_block_);
                 for (int64_t i = begin; i < end; ++i) row[i] *= signs[i];
               });
  }

  bool decodes_for_few() const override { return inner_->decodes_for_few(); }

  // As the reference decode has it: a block of rows, of which one is wanted.
  void decode_row(int64_t row, float* out) const override {
    const int64_t block = std::max<int64_t>(1, output_block_), first = row / block * block;
    std::vector<float> rows(static_cast<size_t>(block * in_features));
    for (int64_t r = 0; r < block; ++r)
      inner_->decode_row(first + r, &rows[static_cast<size_t>(r * in_features)]);
    if (output_block_ > 0) hadamard_down_columns(rows.data(), block, in_features);
    const float sign = output_block_ > 0 ? output_signs_[row] : 1.0f;
    const float* own = &rows[static_cast<size_t>((row - first) * in_features)];
    for (int64_t i = 0; i < in_features; ++i) out[i] = own[i] * sign;
    if (!input_rotation()) return;
    hadamard_along_rows(out, 1, in_features, input_.block);
    for (int64_t i = 0; i < in_features; ++i) out[i] *= input_.signs[static_cast<size_t>(i)];
  }

  uint64_t bytes() const override {
    return inner_->bytes() + sizeof(float) * input_.signs.size() + output_signs_.bytes();
  }
  std::string kernel() const override { return "rotated " + inner_->kernel(); }

 private:
  std::unique_ptr<WeightMatrix> inner_;
  InputRotation input_;
  Array<float> output_signs_;  // [out_features], empty: not rotated
  int64_t output_block_;
  std::vector<float> rotated_;  // [tokens, in_features]
};

}  // namespace

void InputRotation::apply(const float* x, int64_t tokens, float* rotated, ThreadPool& pool) const {
  const auto in_features = static_cast<int64_t>(signs.size());
  const float* sign = signs.data();
  each_share(tokens, in_features, block, pool, [&](int64_t token, int64_t begin, int64_t end) {
    const float* from = x + token * in_features;
    float* to = rotated + token * in_features;
    for (int64_t i = begin; i < end; ++i) to[i] = from[i] * sign[i];
    hadamard_along_rows(to + begin, 1, end - begin, block);
  });
}

std::unique_ptr<WeightMatrix> make_rotated_matrix(std::unique_ptr<WeightMatrix> inner,
                                                  const QuantizedTensor& tensor,
                                                  const MatrixArrays& arrays) {
  return std::make_unique<RotatedMatrix>(std::move(inner), tensor, arrays);
}

}  // namespace bitsmith
