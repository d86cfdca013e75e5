#include "compressor/representation/kinds/gvq_search.h"

#include <algorithm>
#include <limits>

#include "compressor/parallel.h"

namespace bitsmith {

GvqSearch::GvqSearch(const GvqLayout& layout, const torch::Tensor& centroids,
                     const torch::Tensor& block_scales, const SearchKernels& kernels)
    : kernels_(kernels),
      layout_(layout),
      centroids_(centroids.detach().contiguous()),
      block_scales_(block_scales.defined() ? block_scales.contiguous() : block_scales),
      num_centroids_(centroids.size(2)),
      per_row_(layout.column_groups * layout.codes_per_tile_row()),
      padded_((num_centroids_ + kCodePadding - 1) / kCodePadding * kCodePadding) {
  const int64_t d = layout_.vector_size, tiles = layout_.strips * layout_.column_groups;
  columns_.resize(static_cast<size_t>(tiles * d * padded_));
  const auto* values = centroids_.const_data_ptr<float>();
  parallel_tasks(tiles, [&](int64_t tile) {
    float* columns = columns_.data() + tile * d * padded_;
    const float* own = values + tile * num_centroids_ * d;
    for (int64_t k = 0; k < num_centroids_; ++k) {
      for (int64_t t = 0; t < d; ++t) columns[t * padded_ + k] = own[k * d + t];
    }
  });
}

void GvqSearch::prepare(int64_t slot, const float* sub_hessian) {
  const int64_t size = layout_.vector_size * layout_.vector_size;
  std::copy_n(sub_hessian, size, sub_hessians_.begin() + slot * size);
}

int64_t GvqSearch::tile_of(int64_t code_group) const {
  const int64_t row = code_group / per_row_, j = code_group % per_row_;
  return row / layout_.tile_rows * layout_.column_groups + j / layout_.codes_per_tile_row();
}

float GvqSearch::scale_of(int64_t code_group) const {
  if (!block_scales_.defined()) return 1.0f;
  const int64_t blocks = block_scales_.size(1);
  const int64_t row = code_group / per_row_, j = code_group % per_row_;
  return block_scales_.const_data_ptr<float>()[row * blocks + j * blocks / per_row_];
}

int64_t GvqSearch::end_of_tile(const int64_t* code_groups, int64_t begin, int64_t count) const {
  const int64_t tile = tile_of(code_groups[begin]);
  int64_t end = begin + 1;
  while (end < count && tile_of(code_groups[end]) == tile) ++end;
  return end;
}

void GvqSearch::norms_of(int64_t tile, const float* sub_hessian, float* norms) const {
  const int64_t d = layout_.vector_size;
  const float* columns = columns_.data() + tile * d * padded_;
  for (int64_t k = 0; k < num_centroids_; ++k) {
    float norm = 0;
    for (int64_t a = 0; a < d; ++a) {
      for (int64_t b = 0; b < d; ++b) {
        norm += sub_hessian[a * d + b] * columns[a * padded_ + k] * columns[b * padded_ + k];
      }
    }
    norms[k] = norm;
  }
}

// Groups that follow each other in one tile share its table of norms c^T B c.
void GvqSearch::search(int64_t slot, int64_t count, const int64_t* code_groups, const float* linear,
                       int32_t* codes) const {
  const int64_t d = layout_.vector_size;
  const float* sub_hessian = sub_hessians_.data() + slot * d * d;
  std::vector<float> norms(static_cast<size_t>(padded_), std::numeric_limits<float>::infinity());
  std::vector<float> scaled(static_cast<size_t>(count * d));
  std::vector<int32_t> best(static_cast<size_t>(count));
  for (int64_t begin = 0, end; begin < count; begin = end) {
    const int64_t tile = tile_of(code_groups[begin]);
    end = end_of_tile(code_groups, begin, count);
    for (int64_t i = begin; i < end; ++i) {
      const float inverse = 1.0f / scale_of(code_groups[i]);
      for (int64_t t = 0; t < d; ++t) scaled[i * d + t] = linear[i * d + t] * inverse;
    }
    const float* columns = columns_.data() + tile * d * padded_;
    norms_of(tile, sub_hessian, norms.data());
    const float* wanted = scaled.data() + begin * d;
    kernels_.nearest(norms.data(), columns, wanted, end - begin, d, padded_, best.data());
    for (int64_t i = begin; i < end; ++i) {
      const auto cost = [&](int64_t k) {
        float dot = 0;
        for (int64_t t = 0; t < d; ++t) dot += scaled[i * d + t] * columns[t * padded_ + k];
        return norms[k] - 2 * dot;
      };
      const int32_t found = best[i - begin];
      if (cost(found) < cost(codes[i])) codes[i] = found;
    }
  }
}

void GvqSearch::search_neighbors(int64_t count, const int64_t* code_groups, const float* wanted,
                                 int32_t* codes) const {
  const int64_t d = layout_.vector_size;
  std::vector<float> identity(static_cast<size_t>(d * d)), scaled(static_cast<size_t>(d));
  for (int64_t t = 0; t < d; ++t) identity[t * d + t] = 1;
  std::vector<float> norms(static_cast<size_t>(padded_), std::numeric_limits<float>::infinity());
  std::vector<float> costs(norms.size());
  for (int64_t begin = 0, end; begin < count; begin = end) {
    const int64_t tile = tile_of(code_groups[begin]);
    end = end_of_tile(code_groups, begin, count);
    const float* columns = columns_.data() + tile * d * padded_;
    norms_of(tile, identity.data(), norms.data());
    for (int64_t i = begin; i < end; ++i) {
      const float inverse = 1.0f / scale_of(code_groups[i]);
      for (int64_t t = 0; t < d; ++t) scaled[t] = wanted[i * d + t] * inverse;
      kernels_.costs(norms.data(), columns, scaled.data(), 1, d, padded_, costs.data());
      costs[codes[i]] = std::numeric_limits<float>::infinity();
      codes[i] = static_cast<int32_t>(
          std::min_element(costs.begin(), costs.begin() + num_centroids_) - costs.begin());
    }
  }
}

void GvqSearch::decode(int64_t count, const int64_t* code_groups, const int32_t* codes,
                       float* values) const {
  const int64_t d = layout_.vector_size;
  const auto* centroids = centroids_.const_data_ptr<float>();
  for (int64_t i = 0; i < count; ++i) {
    const float scale = scale_of(code_groups[i]);
    const float* centroid = centroids + (tile_of(code_groups[i]) * num_centroids_ + codes[i]) * d;
    for (int64_t t = 0; t < d; ++t) values[i * d + t] = centroid[t] * scale;
  }
}

}  // namespace bitsmith
