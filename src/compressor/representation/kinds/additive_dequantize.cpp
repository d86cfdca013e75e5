#include "compressor/representation/kinds/additive_dequantize.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "compressor/parallel.h"

namespace bitsmith {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// The arrays of one matrix, row by row.
struct View {
  View(const torch::Tensor& codebooks, const torch::Tensor& scales, const torch::Tensor& codes)
      : codebooks_(codebooks.contiguous()),
        scales_(scales.contiguous()),
        codes_(codes.contiguous()),
        centroids(codebooks_.const_data_ptr<float>()),
        scale_values(scales_.const_data_ptr<float>()),
        num_codebooks(codebooks.size(0)),
        num_centroids(codebooks.size(1)),
        size(codebooks.size(2)),
        out(scales.size(0)),
        groups(codes.size(0) / out),
        row_scales(scales.dim() == 1) {
    BITSMITH_CHECK(codes.size(1) == num_codebooks && groups * out == codes.size(0));
    BITSMITH_CHECK(row_scales || scales.size(1) == groups);
  }
  // f(all codes), of their type.
  template <typename F>
  void with_codes(const F& f) const {
    if (codes_.scalar_type() == torch::kByte)
      f(codes_.const_data_ptr<uint8_t>());
    else
      f(codes_.const_data_ptr<int32_t>());
  }
  float scale(int64_t row, int64_t group) const {
    return scale_values[row_scales ? row : row * groups + group];
  }

 private:
  torch::Tensor codebooks_, scales_, codes_;

 public:
  const float* centroids;
  const float* scale_values;
  int64_t num_codebooks, num_centroids, size, out, groups;
  bool row_scales;  // one scale a row, not a group
};

// kSize > 0: group size known to the compiler.
template <int kSize, typename Code>
void decode_row(const View& v, const Code* all_codes, int64_t row, float* w) {
  const int64_t size = kSize > 0 ? kSize : v.size;
  const Code* codes = all_codes + row * v.groups * v.num_codebooks;
  for (int64_t j = 0; j < v.groups; ++j, codes += v.num_codebooks, w += size) {
    const float scale = v.scale(row, j);
    const float* first = v.centroids + codes[0] * size;
    for (int64_t d = 0; d < size; ++d) w[d] = first[d];
    for (int64_t m = 1; m < v.num_codebooks; ++m) {
      const float* centroid = v.centroids + (m * v.num_centroids + codes[m]) * size;
      for (int64_t d = 0; d < size; ++d) w[d] += centroid[d];
    }
    for (int64_t d = 0; d < size; ++d) w[d] *= scale;
  }
}

// Adds to grad_centroids [M, K, g]; sets the gradient of the row's scale or scales.
template <int kSize, typename Code>
void transpose_row(const View& v, const Code* all_codes, int64_t row, const float* grad,
                   float* grad_centroids, float* grad_scales) {
  const int64_t size = kSize > 0 ? kSize : v.size;
  const Code* codes = all_codes + row * v.groups * v.num_codebooks;
  float sums[64] = {};  // in_group_size is at most 64
  const auto total = [&] { return std::accumulate(sums, sums + size, 0.0f); };
  for (int64_t j = 0; j < v.groups; ++j, codes += v.num_codebooks, grad += size) {
    const float scale = v.scale(row, j);
    for (int64_t m = 0; m < v.num_codebooks; ++m) {
      const int64_t at = (m * v.num_centroids + codes[m]) * size;
      for (int64_t d = 0; d < size; ++d) {
        sums[d] += grad[d] * v.centroids[at + d];
        grad_centroids[at + d] += scale * grad[d];
      }
    }
    if (v.row_scales) continue;
    grad_scales[row * v.groups + j] = total();
    std::fill_n(sums, size, 0.0f);
  }
  if (v.row_scales) grad_scales[row] = total();
}

class DequantizeAdditive : public torch::autograd::Function<DequantizeAdditive> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& codebooks,
                               const torch::Tensor& scales, const torch::Tensor& codes) {
    context->save_for_backward({codebooks, scales, codes});
    return additive_decode(codebooks, scales, codes);
  }
  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    const auto saved = context->get_saved_variables();
    auto [codebooks, scales] = additive_decode_transpose(grads[0], saved[0], saved[1], saved[2]);
    return {codebooks, scales, torch::Tensor()};
  }
};

}  // namespace

torch::Tensor additive_decode(const torch::Tensor& codebooks, const torch::Tensor& scales,
                              const torch::Tensor& codes) {
  const View v(codebooks, scales, codes);
  auto weight = torch::empty({v.out, v.groups * v.size}, torch::kFloat);
  auto* w = weight.mutable_data_ptr<float>();
  constexpr int64_t kRows = 32;
  v.with_codes([&]<typename Code>(const Code* codes) {
    const auto decode = v.size == 8 ? decode_row<8, Code> : decode_row<0, Code>;
    parallel_tasks((v.out + kRows - 1) / kRows, [&](int64_t task) {
      const int64_t end = std::min(v.out, (task + 1) * kRows);
      for (int64_t row = task * kRows; row < end; ++row)
        decode(v, codes, row, w + row * v.groups * v.size);
    });
  });
  return weight;
}

AdditiveGradient additive_decode_transpose(const torch::Tensor& grad,
                                           const torch::Tensor& codebooks,
                                           const torch::Tensor& scales,
                                           const torch::Tensor& codes) {
  const View v(codebooks, scales, codes);
  const auto dense = grad.to(torch::kFloat).contiguous();
  const auto* g = dense.const_data_ptr<float>();
  // A fixed number of partial sums, whatever the threads; fewer when codebooks are large.
  constexpr int64_t kMostPartials = 16, kMostFloats = int64_t{1} << 25;
  const int64_t partials =
      std::clamp<int64_t>(kMostFloats / codebooks.numel(), 1, std::min(kMostPartials, v.out));
  auto sums = torch::zeros({partials, v.num_codebooks, v.num_centroids, v.size}, torch::kFloat);
  auto grad_scales = torch::empty(scales.sizes(), torch::kFloat);
  auto* centroids = sums.mutable_data_ptr<float>();
  auto* scale_sums = grad_scales.mutable_data_ptr<float>();
  v.with_codes([&]<typename Code>(const Code* all_codes) {
    const auto transpose = v.size == 8 ? transpose_row<8, Code> : transpose_row<0, Code>;
    parallel_tasks(partials, [&](int64_t part) {
      const int64_t begin = part * v.out / partials, end = (part + 1) * v.out / partials;
      for (int64_t row = begin; row < end; ++row) {
        transpose(v, all_codes, row, g + row * v.groups * v.size,
                  centroids + part * v.num_codebooks * v.num_centroids * v.size, scale_sums);
      }
    });
  });
  return {sums.sum(0), grad_scales};
}

torch::Tensor additive_dequantize(const torch::Tensor& codebooks, const torch::Tensor& scales,
                                  const torch::Tensor& codes) {
  if (!codebooks.is_cpu()) return additive_dequantize_reference(codebooks, scales, codes);
  return DequantizeAdditive::apply(codebooks, scales, codes);
}

torch::Tensor additive_dequantize_reference(const torch::Tensor& codebooks,
                                            const torch::Tensor& scales,
                                            const torch::Tensor& codes) {
  const auto wide = codes.to(torch::kInt);  // uint8 is no index
  auto sum = codebooks[0].index_select(0, wide.select(1, 0));
  for (int64_t m = 1; m < codebooks.size(0); ++m) {
    sum = sum + codebooks[m].index_select(0, wide.select(1, m));
  }
  if (scales.dim() == 2) sum = sum * scales.reshape({-1, 1});
  const auto weight = sum.reshape({scales.size(0), -1});
  return scales.dim() == 1 ? weight * scales.unsqueeze(1) : weight;
}

}  // namespace bitsmith
