#include "compressor/representation/kinds/gvq_dequantize.h"

#include <algorithm>

#include "base/error.h"
#include "compressor/parallel.h"

namespace bitsmith {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// The arrays of one matrix, strip by strip.
class Tiles {
 public:
  Tiles(const GvqLayout& layout, const torch::Tensor& centroids, const torch::Tensor& codes,
        const torch::Tensor& block_scales)
      : layout_(layout),
        codes_(codes.contiguous()),
        block_scales_(block_scales.defined() ? block_scales.contiguous() : block_scales),
        per_row_(layout.column_groups * layout.codes_per_tile_row()),
        tile_floats_(centroids.size(2) * centroids.size(3)) {
    BITSMITH_CHECK(codes.numel() % per_row_ == 0);
    BITSMITH_CHECK(centroids.size(0) == layout.strips && centroids.size(1) == layout.column_groups);
  }

  int64_t in_features() const { return per_row_ * layout_.vector_size; }
  int64_t out_features() const { return codes_.numel() / per_row_; }

  // task(w, vector, scale) for each code of a strip: where its inputs lie in `matrix`, its centroid
  // in `centroids`.
  template <int kSize, typename Float, typename Vector, typename Task>
  void each_code(int64_t strip, Float* matrix, Vector* centroids, const Task& task) const {
    if (codes_.scalar_type() == torch::kByte)
      walk<kSize>(codes_.const_data_ptr<uint8_t>(), strip, matrix, centroids, task);
    else
      walk<kSize>(codes_.const_data_ptr<int32_t>(), strip, matrix, centroids, task);
  }

 private:
  template <int kSize, typename Code, typename Float, typename Vector, typename Task>
  void walk(const Code* codes, int64_t strip, Float* matrix, Vector* centroids,
            const Task& task) const {
    const int64_t end = std::min(out_features(), (strip + 1) * layout_.tile_rows);
    const int64_t tile_codes = layout_.codes_per_tile_row();
    const int64_t blocks = block_scales_.defined() ? block_scales_.size(1) : 0;
    for (int64_t row = strip * layout_.tile_rows; row < end; ++row) {
      const Code* own = codes + row * per_row_;
      Float* w = matrix + row * in_features();
      for (int64_t column_group = 0; column_group < layout_.column_groups; ++column_group) {
        Vector* tile = centroids + (strip * layout_.column_groups + column_group) * tile_floats_;
        for (int64_t j = column_group * tile_codes; j < (column_group + 1) * tile_codes; ++j) {
          const float scale =
              blocks > 0
                  ? block_scales_.const_data_ptr<float>()[row * blocks + j * blocks / per_row_]
                  : 1.0f;
          task(w + j * kSize, tile + own[j] * kSize, scale);
        }
      }
    }
  }

  GvqLayout layout_;
  torch::Tensor codes_, block_scales_;
  int64_t per_row_, tile_floats_;
};

template <int kSize>
void decode_strip(const Tiles& tiles, int64_t strip, const float* centroids, float* weight) {
  tiles.each_code<kSize>(strip, weight, centroids, [](float* w, const float* c, float scale) {
    for (int t = 0; t < kSize; ++t) w[t] = c[t] * scale;
  });
}

template <int kSize>
void scatter_strip(const Tiles& tiles, int64_t strip, const float* matrix, float* sums) {
  tiles.each_code<kSize>(strip, matrix, sums, [](const float* w, float* c, float scale) {
    for (int t = 0; t < kSize; ++t) c[t] += w[t] * scale;
  });
}

// An undefined tensor cannot go through autograd: without block scales an empty one does.
torch::Tensor some(const torch::Tensor& scales) {
  return scales.defined() ? scales : torch::empty({0});
}
torch::Tensor none_if_empty(const torch::Tensor& scales) {
  return scales.numel() > 0 ? scales : torch::Tensor();
}

class DequantizeGvq : public torch::autograd::Function<DequantizeGvq> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& centroids,
                               const torch::Tensor& codes, const torch::Tensor& block_scales,
                               const GvqLayout& layout) {
    context->save_for_backward({centroids, codes, block_scales});
    context->saved_data["layout"] = std::vector<int64_t>{layout.tile_columns, layout.column_groups,
                                                         layout.tile_rows, layout.strips};
    return gvq_decode(layout, centroids, codes, none_if_empty(block_scales));
  }
  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    const auto saved = context->get_saved_variables();
    const auto sizes = context->saved_data["layout"].toIntVector();
    const GvqLayout layout{sizes[0], sizes[1], sizes[2], sizes[3], saved[0].size(3)};
    return {gvq_decode_transpose(layout, grads[0], saved[0], saved[1], none_if_empty(saved[2])),
            torch::Tensor(), torch::Tensor(), torch::Tensor()};
  }
};

}  // namespace

torch::Tensor gvq_decode(const GvqLayout& layout, const torch::Tensor& centroids,
                         const torch::Tensor& codes, const torch::Tensor& block_scales) {
  const Tiles tiles(layout, centroids, codes, block_scales);
  const auto values = centroids.contiguous();
  auto weight = torch::empty({tiles.out_features(), tiles.in_features()}, torch::kFloat);
  const auto* from = values.const_data_ptr<float>();
  auto* to = weight.mutable_data_ptr<float>();
  const auto decode = layout.vector_size == 1   ? decode_strip<1>
                      : layout.vector_size == 2 ? decode_strip<2>
                                                : decode_strip<4>;
  parallel_tasks(layout.strips, [&](int64_t strip) { decode(tiles, strip, from, to); });
  return weight;
}

torch::Tensor gvq_decode_transpose(const GvqLayout& layout, const torch::Tensor& matrix,
                                   const torch::Tensor& centroids, const torch::Tensor& codes,
                                   const torch::Tensor& block_scales) {
  const Tiles tiles(layout, centroids, codes, block_scales);
  const auto dense = matrix.to(torch::kFloat).contiguous();
  auto sums = torch::zeros(centroids.sizes(), torch::kFloat);
  const auto* from = dense.const_data_ptr<float>();
  auto* to = sums.mutable_data_ptr<float>();
  const auto scatter = layout.vector_size == 1   ? scatter_strip<1>
                       : layout.vector_size == 2 ? scatter_strip<2>
                                                 : scatter_strip<4>;
  parallel_tasks(layout.strips, [&](int64_t strip) { scatter(tiles, strip, from, to); });
  return sums;
}

torch::Tensor tile_of_code_groups(const GvqLayout& layout, const torch::Tensor& code_groups) {
  const int64_t tile_codes = layout.codes_per_tile_row(),
                per_row = tile_codes * layout.column_groups;
  const auto strip = code_groups.floor_divide(per_row * layout.tile_rows);
  return strip * layout.column_groups + code_groups.remainder(per_row).floor_divide(tile_codes);
}

torch::Tensor gvq_dequantize_reference(const GvqLayout& layout, const torch::Tensor& centroids,
                                       const torch::Tensor& codes,
                                       const torch::Tensor& block_scales) {
  const int64_t in = layout.tile_columns * layout.column_groups, d = layout.vector_size;
  const auto code_groups = torch::arange(codes.size(0), codes.options().dtype(torch::kLong));
  const auto at = tile_of_code_groups(layout, code_groups) * centroids.size(2) + codes.select(1, 0);
  const auto weight = centroids.reshape({-1, d}).index_select(0, at).reshape({-1, in});
  if (!block_scales.defined()) return weight;
  return weight * block_scales.repeat_interleave(in / block_scales.size(1), 1);
}

torch::Tensor gvq_dequantize(const GvqLayout& layout, const torch::Tensor& centroids,
                             const torch::Tensor& codes, const torch::Tensor& block_scales) {
  if (!centroids.is_cpu()) {
    return gvq_dequantize_reference(layout, centroids, codes, block_scales);
  }
  return DequantizeGvq::apply(centroids, codes, some(block_scales), layout);
}

}  // namespace bitsmith
