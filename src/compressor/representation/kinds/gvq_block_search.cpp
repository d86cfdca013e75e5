#include "compressor/representation/kinds/gvq_block_search.h"

#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/linalg_inv_ex.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "compressor/parallel.h"

namespace bitsmith {
namespace {

constexpr int kScaleCodes = 1 << GvqSpec::kBlockScaleBits;
constexpr float kRidge = 1e-4f;
constexpr int kCycles = 2;      // of coordinate descent
constexpr int64_t kLanes = 64;  // blocks with a scale that are searched side by side

int64_t rounded_up(int64_t count) {
  return (count + kCodePadding - 1) / kCodePadding * kCodePadding;
}

std::vector<float> values_of(const torch::Tensor& tensor) {
  const auto dense = tensor.to(torch::kFloat).contiguous();
  const auto* values = dense.const_data_ptr<float>();
  return {values, values + dense.numel()};
}

// The diagonal blocks [n / size, size, size] of a square matrix.
torch::Tensor diagonal_blocks(const torch::Tensor& matrix, int64_t size) {
  const int64_t count = matrix.size(0) / size;
  return matrix.reshape({count, size, count, size})
      .diagonal(0, 0, 2)
      .permute({2, 0, 1})
      .contiguous();
}

// Rows of one tile with their blocks at one place. Numbers of all rows, or of all candidates, lie
// side by side: [S, lanes].
template <int kSize>
class TileSearch {
 public:
  using Tables = GvqBlockSearch::Tables;

  TileSearch(const SearchKernels& kernels, const Tables& tables, const float* columns,
             const float* scales, int64_t block, int64_t num_centroids, int64_t padded, int window)
      : kernels_(kernels),
        tables_(tables),
        columns_(columns),
        scales_(scales),
        block_(block),
        places_(block / kSize),
        num_centroids_(num_centroids),
        padded_(padded),
        window_(window),
        feedback_norms_(norms(tables.feedback_costs)),
        own_norms_(norms(tables.sub_hessians)),
        present_(block * kLanes),
        gradient_(present_.size()),
        optimum_(present_.size()),
        state_(present_.size()),
        candidate_codes_(places_ * kLanes),
        linear_(kSize * kLanes),
        moves_(kSize * kLanes),
        found_(kLanes) {}

  // At most kLanes rows; linear [count, S], codes [count, 1 + S / D].
  void run(int64_t count, const float* linear, int32_t* codes) {
    codes_ = codes;
    start(count, linear);
    std::vector<Best> best(static_cast<size_t>(count));
    for (int64_t row = 0; row < count; ++row) {
      best[row].scale = scale_code(row);
      best[row].codes.assign(vector_codes(row), vector_codes(row) + places_);
    }
    try_scales(best);
    std::vector<Candidate> candidates;
    for (int64_t row = 0; row < count; ++row) {
      candidates.push_back({row, best[row].scale, best[row].codes.data()});
      candidates.push_back({row, scale_code(row), vector_codes(row)});
    }
    for (size_t begin = 0; begin < candidates.size(); begin += kLanes) {
      descend(candidates.data() + begin, std::min<int64_t>(kLanes, candidates.size() - begin));
    }
  }

 private:
  struct Best {
    float cost = std::numeric_limits<float>::infinity();
    int32_t scale = 0;
    std::vector<int32_t> codes;
  };
  struct Candidate {
    int64_t row;
    int32_t scale;
    const int32_t* codes;
  };

  int32_t& scale_code(int64_t row) const { return codes_[row * (1 + places_)]; }
  int32_t* vector_codes(int64_t row) const { return codes_ + row * (1 + places_) + 1; }

  // [S / D, padded] c^T M c of each place's M.
  std::vector<float> norms(const std::vector<float>& sub_hessians) const {
    std::vector<float> all(static_cast<size_t>(places_ * padded_),
                           std::numeric_limits<float>::infinity());
    for (int64_t i = 0; i < places_; ++i) {
      const float* m = sub_hessians.data() + i * kSize * kSize;
      float* norm = all.data() + i * padded_;
      std::fill_n(norm, num_centroids_, 0.0f);
      for (int a = 0; a < kSize; ++a) {
        for (int b = 0; b <= a; ++b) {
          const float factor = a == b ? m[a * kSize + a] : m[a * kSize + b] + m[b * kSize + a];
          const float *x = columns_ + a * padded_, *y = columns_ + b * padded_;
          for (int64_t k = 0; k < num_centroids_; ++k) norm[k] += factor * x[k] * y[k];
        }
      }
    }
    return all;
  }

  // y [S, lanes] -= matrix [S, S] x [S, lanes].
  void subtract_product(const float* matrix, const float* x, int64_t lanes, float* y) const {
    for (int64_t a = 0; a < block_; ++a) {
      kernels_.subtract_product(matrix + a * block_, x, block_, kLanes, lanes, y + a * kLanes);
    }
  }

  // The present values, half the negative slope of the cost there, and where it would be lowest.
  void start(int64_t count, const float* linear) {
    const int64_t lanes = rounded_up(count);
    std::fill(present_.begin(), present_.end(), 0.0f);
    std::fill(gradient_.begin(), gradient_.end(), 0.0f);
    for (int64_t row = 0; row < count; ++row) {
      const float scale = scales_[scale_code(row)];
      const int32_t* own = vector_codes(row);
      for (int64_t c = 0; c < block_; ++c) {
        const float value = scale * columns_[c % kSize * padded_ + own[c / kSize]];
        present_[c * kLanes + row] = value;
        gradient_[c * kLanes + row] =
            tables_.inverse_mean * linear[row * block_ + c] + tables_.ridge * value;
      }
    }
    subtract_product(tables_.hessian.data(), present_.data(), lanes, gradient_.data());
    optimum_ = present_;
    subtract_product(tables_.minus_inverse.data(), gradient_.data(), lanes, optimum_.data());
  }

  void try_scales(std::vector<Best>& best) {
    const auto rows = static_cast<int64_t>(best.size());
    struct Tried {
      int first, end;  // scale codes
    };
    std::vector<Tried> tried;
    std::vector<Candidate> next;
    const auto add = [&](int64_t row, int first, int end) {
      for (int code = first; code < end; ++code) next.push_back({row, code, nullptr});
    };
    for (int64_t row = 0; row < rows; ++row) {
      const int code = scale_code(row);
      tried.push_back({std::max(0, code - window_), std::min(kScaleCodes, code + window_ + 1)});
      add(row, tried[row].first, tried[row].end);
    }
    while (!next.empty()) {
      for (size_t begin = 0; begin < next.size(); begin += kLanes) {
        feed_back(next.data() + begin, std::min<int64_t>(kLanes, next.size() - begin), best);
      }
      next.clear();
      for (int64_t row = 0; row < rows; ++row) {
        auto& [first, end] = tried[row];
        if (best[row].scale == first && first > 0) {
          const int from = std::max(0, first - window_);
          add(row, from, first);
          first = from;
        } else if (best[row].scale == end - 1 && end < kScaleCodes) {
          const int to = std::min(kScaleCodes, end + window_);
          add(row, end, to);
          end = to;
        }
      }
    }
  }

  // One pass of error feedback for each candidate, in units of its scale.
  void feed_back(const Candidate* candidates, int64_t count, std::vector<Best>& best) {
    const int64_t lanes = rounded_up(count);
    float costs[kLanes] = {};
    for (int64_t v = 0; v < count; ++v) {
      const float inverse = 1.0f / scales_[candidates[v].scale];
      for (int64_t c = 0; c < block_; ++c) {
        state_[c * kLanes + v] = inverse * optimum_[c * kLanes + candidates[v].row];
      }
    }
    for (int64_t i = 0; i < places_; ++i) {
      float* wanted = state_.data() + i * kSize * kLanes;
      linear_terms(tables_.feedback_costs.data() + i * kSize * kSize, wanted, lanes);
      kernels_.nearest(feedback_norms_.data() + i * padded_, columns_, linear_.data(), count, kSize,
                       padded_, found_.data());
      const float* root = tables_.roots.data() + i * kSize * kSize;
      int32_t* codes = candidate_codes_.data() + i * kLanes;
      for (int64_t v = 0; v < count; ++v) {
        float error[kSize];
        for (int a = 0; a < kSize; ++a)
          error[a] = wanted[a * kLanes + v] - columns_[a * padded_ + found_[v]];
        for (int b = 0; b < kSize; ++b) {
          float move = 0;
          for (int a = 0; a < kSize; ++a) move += error[a] * root[a * kSize + b];
          moves_[b * kLanes + v] = move;
          costs[v] += move * move;
        }
        codes[v] = found_[v];
      }
      for (int64_t c = (i + 1) * kSize; c < block_; ++c) {
        kernels_.subtract_product(tables_.lower.data() + c * block_ + i * kSize, moves_.data(),
                                  kSize, kLanes, lanes, state_.data() + c * kLanes);
      }
    }
    for (int64_t v = 0; v < count; ++v) {
      const float scale = scales_[candidates[v].scale];
      Best& own = best[candidates[v].row];
      const float cost = costs[v] * scale * scale;
      if (!(cost < own.cost)) continue;
      own.cost = cost;
      own.scale = candidates[v].scale;
      for (int64_t i = 0; i < places_; ++i) own.codes[i] = candidate_codes_[i * kLanes + v];
    }
  }

  // linear [lanes, D] = M x, x [D, lanes].
  void linear_terms(const float* m, const float* x, int64_t lanes) {
    for (int64_t v = 0; v < lanes; ++v) {
      for (int a = 0; a < kSize; ++a) {
        float sum = 0;
        for (int b = 0; b < kSize; ++b) sum += m[a * kSize + b] * x[b * kLanes + v];
        linear_[v * kSize + a] = sum;
      }
    }
  }

  // Cycles of coordinate descent from each candidate. Two neighbors are of the same row: the one
  // that ends lower is taken, if that is below the present cost.
  void descend(const Candidate* candidates, int64_t count) {
    const int64_t lanes = rounded_up(count);
    std::vector<float> change(static_cast<size_t>(block_ * kLanes)), slope(change.size());
    float scales[kLanes] = {}, inverses[kLanes] = {};
    for (int64_t v = 0; v < count; ++v) {
      const auto [row, code, codes] = candidates[v];
      scales[v] = scales_[code];
      inverses[v] = 1 / scales[v];
      for (int64_t i = 0; i < places_; ++i) candidate_codes_[i * kLanes + v] = codes[i];
      for (int64_t c = 0; c < block_; ++c) {
        const float value = scales[v] * columns_[c % kSize * padded_ + codes[c / kSize]];
        change[c * kLanes + v] = value - present_[c * kLanes + row];
        slope[c * kLanes + v] = gradient_[c * kLanes + row];
      }
    }
    subtract_product(tables_.hessian.data(), change.data(), lanes, slope.data());
    std::vector<float> wanted(static_cast<size_t>(kSize * kLanes));
    for (int cycle = 0; cycle < kCycles; ++cycle) {
      bool any = false;
      for (int64_t i = 0; i < places_; ++i) {
        // M x, x the vector's values, plus the slope: its own part of the slope undone.
        const float* m = tables_.sub_hessians.data() + i * kSize * kSize;
        int32_t* codes = candidate_codes_.data() + i * kLanes;
        for (int64_t v = 0; v < count; ++v) {
          for (int a = 0; a < kSize; ++a) {
            float sum = slope[(i * kSize + a) * kLanes + v] * inverses[v];
            for (int b = 0; b < kSize; ++b)
              sum += m[a * kSize + b] * columns_[b * padded_ + codes[v]];
            linear_[v * kSize + a] = sum;
          }
        }
        kernels_.nearest(own_norms_.data() + i * padded_, columns_, linear_.data(), count, kSize,
                         padded_, found_.data());
        bool moved = false;
        std::fill(moves_.begin(), moves_.end(), 0.0f);
        for (int64_t v = 0; v < count; ++v) {
          if (found_[v] == codes[v]) continue;
          moved = true;
          for (int a = 0; a < kSize; ++a) {
            const float* column = columns_ + a * padded_;
            const float move = scales[v] * (column[found_[v]] - column[codes[v]]);
            moves_[a * kLanes + v] = move;
            change[(i * kSize + a) * kLanes + v] += move;
          }
          codes[v] = found_[v];
        }
        if (!moved) continue;
        any = true;
        for (int64_t c = 0; c < block_; ++c) {
          kernels_.subtract_product(tables_.hessian.data() + c * block_ + i * kSize, moves_.data(),
                                    kSize, kLanes, lanes, slope.data() + c * kLanes);
        }
      }
      if (!any) break;
    }
    // q^T B q - 2 g^T q = -q^T (g + slope), slope = g - B q.
    float gains[kLanes] = {};
    for (int64_t c = 0; c < block_; ++c) {
      for (int64_t v = 0; v < count; ++v) {
        gains[v] += change[c * kLanes + v] *
                    (slope[c * kLanes + v] + gradient_[c * kLanes + candidates[v].row]);
      }
    }
    for (int64_t v = 0; v < count; v += 2) {
      const int64_t best = gains[v] > gains[v + 1] ? v : v + 1;
      if (!(gains[best] > 0)) continue;
      const int64_t row = candidates[best].row;
      scale_code(row) = candidates[best].scale;
      for (int64_t i = 0; i < places_; ++i)
        vector_codes(row)[i] = candidate_codes_[i * kLanes + best];
    }
  }

  const SearchKernels& kernels_;
  const Tables& tables_;
  const float *columns_, *scales_;
  int64_t block_, places_, num_centroids_, padded_;
  int window_;
  std::vector<float> feedback_norms_, own_norms_;    // [S / D, padded]
  std::vector<float> present_, gradient_, optimum_;  // of rows
  std::vector<float> state_;                         // of candidates
  std::vector<int32_t> candidate_codes_;             // [S / D, lanes]
  std::vector<float> linear_, moves_;                // [lanes, D], [D, lanes]
  std::vector<int32_t> found_;
  int32_t* codes_ = nullptr;
};

}  // namespace

GvqBlockSearch::GvqBlockSearch(const GvqLayout& layout, const torch::Tensor& centroids,
                               const torch::Tensor& grid, int64_t scale_block, int window,
                               const SearchKernels& kernels)
    : kernels_(kernels),
      layout_(layout),
      scale_block_(scale_block),
      num_centroids_(centroids.size(2)),
      padded_(rounded_up(num_centroids_)),
      per_row_(layout.column_groups * layout.tile_columns / scale_block),
      window_(window) {
  const int64_t d = layout_.vector_size, tiles = layout_.strips * layout_.column_groups;
  columns_.resize(static_cast<size_t>(tiles * d * padded_));
  const auto values = centroids.detach().contiguous(), lines = grid.contiguous();
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const auto* own = values.const_data_ptr<float>() + tile * num_centroids_ * d;
    float* columns = columns_.data() + tile * d * padded_;
    for (int64_t k = 0; k < num_centroids_; ++k) {
      for (int64_t t = 0; t < d; ++t) columns[t * padded_ + k] = own[k * d + t];
    }
    const auto* line = lines.const_data_ptr<float>() + tile * 2;
    for (int code = 0; code < kScaleCodes; ++code) {
      scales_.push_back(std::exp2(line[0] + static_cast<float>(code) * line[1]));
    }
  }
}

void GvqBlockSearch::prepare(int64_t slot, const float* sub_hessian) {
  const torch::NoGradGuard no_grad;  // each thread has its own flag
  Tables& tables = slots_[static_cast<size_t>(slot)];
  const int64_t d = layout_.vector_size;
  auto hessian = torch::from_blob(const_cast<float*>(sub_hessian), {scale_block_, scale_block_})
                     .to(torch::kDouble);
  const double mean = hessian.diagonal().mean().item<double>();
  tables.inverse_mean = mean > 0 ? static_cast<float>(1 / mean) : 0.0f;
  if (!(mean > 0)) return;
  hessian = hessian / mean;
  torch::Tensor inverse, lower;
  // Higher for a block that is not positive definite with less.
  for (tables.ridge = kRidge;; tables.ridge *= 10) {
    auto raised = hessian.clone();
    raised.diagonal().add_(tables.ridge);
    inverse = std::get<0>(at::linalg_inv_ex(raised));
    inverse = 0.5 * (inverse + inverse.t());
    const auto [factor, info] = at::linalg_cholesky_ex(inverse);
    if (info.item<int>() != 0 || !torch::isfinite(factor).all().item<bool>()) continue;
    lower = factor;
    hessian = raised;
    break;
  }
  const auto roots = torch::linalg_inv(diagonal_blocks(lower, d).transpose(1, 2));
  tables.hessian = values_of(hessian);
  tables.minus_inverse = values_of(-inverse);
  tables.lower = values_of(lower);
  tables.sub_hessians = values_of(diagonal_blocks(hessian, d));
  tables.roots = values_of(roots);
  tables.feedback_costs = values_of(torch::bmm(roots, roots.transpose(1, 2)));
}

int64_t GvqBlockSearch::tile_of(int64_t code_group) const {
  const int64_t row = code_group / per_row_, j = code_group % per_row_;
  return row / layout_.tile_rows * layout_.column_groups + j * scale_block_ / layout_.tile_columns;
}

void GvqBlockSearch::search(int64_t slot, int64_t count, const int64_t* code_groups,
                            const float* linear, int32_t* codes) const {
  const Tables& tables = slots_[static_cast<size_t>(slot)];
  if (tables.inverse_mean == 0) return;  // every code is as good
  const auto search_tile = [&]<int kSize>(int64_t tile, int64_t begin, int64_t end) {
    TileSearch<kSize> search(kernels_, tables, columns_.data() + tile * kSize * padded_,
                             scales_.data() + tile * kScaleCodes, scale_block_, num_centroids_,
                             padded_, window_);
    for (; begin < end; begin += kLanes) {
      search.run(std::min(kLanes, end - begin), linear + begin * scale_block_,
                 codes + begin * num_codes());
    }
  };
  for (int64_t begin = 0, end; begin < count; begin = end) {
    const int64_t tile = tile_of(code_groups[begin]);
    end = begin + 1;
    while (end < count && tile_of(code_groups[end]) == tile) ++end;
    if (layout_.vector_size == 1)
      search_tile.template operator()<1>(tile, begin, end);
    else if (layout_.vector_size == 2)
      search_tile.template operator()<2>(tile, begin, end);
    else
      search_tile.template operator()<4>(tile, begin, end);
  }
}

void GvqBlockSearch::decode(int64_t count, const int64_t* code_groups, const int32_t* codes,
                            float* values) const {
  const int64_t d = layout_.vector_size;
  for (int64_t i = 0; i < count; ++i, codes += num_codes(), values += scale_block_) {
    const int64_t tile = tile_of(code_groups[i]);
    const float scale = scales_[tile * kScaleCodes + codes[0]];
    const float* columns = columns_.data() + tile * d * padded_;
    for (int64_t c = 0; c < scale_block_; ++c)
      values[c] = scale * columns[c % d * padded_ + codes[1 + c / d]];
  }
}

}  // namespace bitsmith
