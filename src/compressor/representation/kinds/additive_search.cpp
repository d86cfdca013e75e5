#include "compressor/representation/kinds/additive_search.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace bitsmith {
namespace {

constexpr int64_t kRowsAtOnce = 8;  // two rows of costs for each stay in the first-level cache

// y = A x, [g, g] times [g]
void multiply_square(const float* matrix, const float* x, int64_t g, float* y) {
  for (int64_t a = 0; a < g; ++a) {
    float sum = 0;
    for (int64_t b = 0; b < g; ++b) sum += matrix[a * g + b] * x[b];
    y[a] = sum;
  }
}

}  // namespace

AdditiveSearch::AdditiveSearch(const torch::Tensor& codebooks, const torch::Tensor& scales,
                               int64_t per_row, int beam, const SearchKernels& kernels)
    : kernels_(kernels),
      codebooks_(codebooks.detach().contiguous()),
      scales_(scales.detach().contiguous()),
      centroids_(codebooks_.const_data_ptr<float>()),
      num_codebooks_(codebooks.size(0)),
      num_centroids_(codebooks.size(1)),
      g_(codebooks.size(2)),
      per_row_(per_row),
      padded_((num_centroids_ + kCodePadding - 1) / kCodePadding * kCodePadding),
      beam_(beam),
      pairs_(beam > 0 ? std::vector<CodePair>{} : code_pairs(num_codebooks_, num_centroids_)),
      columns_(static_cast<size_t>(num_codebooks_ * g_ * padded_)) {
  for (int64_t m = 0; m < num_codebooks_; ++m) {
    for (int64_t k = 0; k < num_centroids_; ++k) {
      for (int64_t d = 0; d < g_; ++d) columns_[(m * g_ + d) * padded_ + k] = centroid_of(m, k)[d];
    }
  }
}

void AdditiveSearch::reserve_slots(int64_t slots) {
  tables_.resize(static_cast<size_t>(slots));
  for (Tables& tables : tables_) {
    tables.sub_hessian.resize(static_cast<size_t>(g_ * g_));
    tables.norms.resize(static_cast<size_t>(num_codebooks_));
    for (auto& norms : tables.norms) {
      norms.assign(static_cast<size_t>(padded_), std::numeric_limits<float>::infinity());
    }
    tables.cross.clear();
    for (const CodePair& pair : pairs_) {
      const int64_t size = pair.first == pair.second ? 0 : num_centroids_ * padded_;
      tables.cross.emplace_back(static_cast<size_t>(size));
    }
  }
}

void AdditiveSearch::prepare(int64_t slot, const float* sub_hessian) {
  Tables& tables = tables_[static_cast<size_t>(slot)];
  std::copy_n(sub_hessian, g_ * g_, tables.sub_hessian.begin());
  std::vector<float> product(static_cast<size_t>(g_)),
      negated(static_cast<size_t>(num_centroids_ * g_));
  for (int64_t m = 0; m < num_codebooks_; ++m) {
    for (int64_t k = 0; k < num_centroids_; ++k) {
      multiply_square(sub_hessian, centroid_of(m, k), g_, product.data());
      float norm = 0;
      for (int64_t d = 0; d < g_; ++d) norm += product[d] * centroid_of(m, k)[d];
      tables.norms[m][k] = norm;
    }
  }
  const std::vector<float> zeros(static_cast<size_t>(padded_));
  for (size_t p = 0; p < pairs_.size(); ++p) {
    if (tables.cross[p].empty()) continue;
    for (int64_t k = 0; k < num_centroids_; ++k) {
      multiply_square(sub_hessian, centroid_of(pairs_[p].first, k), g_, product.data());
      for (int64_t d = 0; d < g_; ++d) negated[k * g_ + d] = -product[d];
    }
    kernels_.costs(zeros.data(), columns(pairs_[p].second), negated.data(), num_centroids_, g_,
                   padded_, tables.cross[p].data());
  }
}

void AdditiveSearch::search(int64_t slot, int64_t count, const int64_t* code_groups,
                            const float* linear, int32_t* codes) const {
  const Tables& tables = tables_[static_cast<size_t>(slot)];
  std::vector<float> scaled(static_cast<size_t>(kRowsAtOnce * g_)), rest(scaled.size());
  std::vector<float> others(static_cast<size_t>(g_)), product(others.size());
  for (int64_t begin = 0; begin < count; begin += kRowsAtOnce) {
    const int64_t rows = std::min(kRowsAtOnce, count - begin);
    for (int64_t r = 0; r < rows; ++r) {
      const float scale = scale_of(code_groups[begin + r]);
      // With a scale of zero every code is as good: NaN never wins, the present codes stay.
      for (int64_t d = 0; d < g_; ++d) {
        scaled[r * g_ + d] = scale != 0 ? linear[(begin + r) * g_ + d] / scale
                                        : std::numeric_limits<float>::quiet_NaN();
      }
    }
    int32_t* own = codes + begin * num_codebooks_;
    for (int64_t r = 0; beam_ > 0 && r < rows; ++r) {
      search_beam(tables, scaled.data() + r * g_, own + r * num_codebooks_);
    }
    for (size_t p = 0; p < pairs_.size(); ++p) {
      const CodePair pair = pairs_[p];
      for (int64_t r = 0; r < rows; ++r) {  // minus what the other codebooks give
        std::fill(others.begin(), others.end(), 0.0f);
        for (int64_t m = 0; m < num_codebooks_; ++m) {
          if (m == pair.first || m == pair.second) continue;
          const float* centroid = centroid_of(m, own[r * num_codebooks_ + m]);
          for (int64_t d = 0; d < g_; ++d) others[d] += centroid[d];
        }
        multiply_square(tables.sub_hessian.data(), others.data(), g_, product.data());
        for (int64_t d = 0; d < g_; ++d) rest[r * g_ + d] = scaled[r * g_ + d] - product[d];
      }
      if (pair.first == pair.second) {
        search_one(tables, pair.first, rows, rest.data(), own);
      } else {
        search_joint(tables, p, rows, rest.data(), own);
      }
    }
  }
}

void AdditiveSearch::search_one(const Tables& tables, int64_t m, int64_t count, const float* rest,
                                int32_t* codes) const {
  int32_t best[kRowsAtOnce];
  const auto& norms = tables.norms[m];
  kernels_.nearest(norms.data(), columns(m), rest, count, g_, padded_, best);
  for (int64_t r = 0; r < count; ++r) {
    int32_t& present = codes[r * num_codebooks_ + m];
    const auto cost = [&](int64_t k) {
      float dot = 0;
      for (int64_t d = 0; d < g_; ++d) dot += rest[r * g_ + d] * centroid_of(m, k)[d];
      return norms[k] - 2 * dot;
    };
    if (cost(best[r]) < cost(present)) present = best[r];
  }
}

// One group. Each codebook in turn: every state that is kept offers all its centroids in place of
// the present one, and the best offers are the next states.
void AdditiveSearch::search_beam(const Tables& tables, const float* linear, int32_t* codes) const {
  struct State {
    std::vector<int32_t> codes;
    float cost;
  };
  std::vector<State> states = {{{codes, codes + num_codebooks_}, 0}}, next;
  std::vector<float> others(static_cast<size_t>(g_)), product(others.size()), rest(others.size());
  std::vector<float> costs(static_cast<size_t>(padded_));
  std::vector<int32_t> order(static_cast<size_t>(num_centroids_));
  for (int64_t m = 0; m < num_codebooks_; ++m) {
    next.clear();
    for (const State& state : states) {
      std::fill(others.begin(), others.end(), 0.0f);
      for (int64_t n = 0; n < num_codebooks_; ++n) {
        if (n == m) continue;
        const float* centroid = centroid_of(n, state.codes[n]);
        for (int64_t d = 0; d < g_; ++d) others[d] += centroid[d];
      }
      multiply_square(tables.sub_hessian.data(), others.data(), g_, product.data());
      float fixed = 0;  // what the other codebooks' sum costs by itself
      for (int64_t d = 0; d < g_; ++d) {
        fixed += others[d] * (product[d] - 2 * linear[d]);
        rest[d] = linear[d] - product[d];
      }
      kernels_.costs(tables.norms[m].data(), columns(m), rest.data(), 1, g_, padded_, costs.data());
      std::iota(order.begin(), order.end(), 0);
      const auto kept = order.begin() + std::min<int64_t>(beam_, num_centroids_);
      std::partial_sort(order.begin(), kept, order.end(), [&](int32_t a, int32_t b) {
        return costs[a] < costs[b] || (costs[a] == costs[b] && a < b);
      });
      for (auto k = order.begin(); k != kept; ++k) {
        next.push_back({state.codes, fixed + costs[*k]});
        next.back().codes[m] = *k;
      }
      if (m > 0) continue;
      // With a scale of zero every cost is undefined, and the present codes stay.
      const float present = fixed + costs[codes[0]];
      if (!(next[0].cost <= present)) return;
    }
    const auto better = [](const State& a, const State& b) {
      return a.cost < b.cost || (a.cost == b.cost && a.codes < b.codes);
    };
    std::sort(next.begin(), next.end(), better);
    const auto same = [](const State& a, const State& b) { return a.codes == b.codes; };
    next.erase(std::unique(next.begin(), next.end(), same), next.end());
    if (static_cast<int>(next.size()) > beam_) next.resize(static_cast<size_t>(beam_));
    states.swap(next);
  }
  std::copy(states[0].codes.begin(), states[0].codes.end(), codes);
}

void AdditiveSearch::search_joint(const Tables& tables, size_t p, int64_t count, const float* rest,
                                  int32_t* codes) const {
  const auto [m0, m1] = pairs_[p];
  const auto& cross = tables.cross[p];
  std::vector<float> first(static_cast<size_t>(count * padded_)), second(first.size());
  kernels_.costs(tables.norms[m0].data(), columns(m0), rest, count, g_, padded_, first.data());
  kernels_.costs(tables.norms[m1].data(), columns(m1), rest, count, g_, padded_, second.data());
  int32_t best[kRowsAtOnce];
  kernels_.nearest_pair(first.data(), second.data(), cross.data(), count, num_centroids_, padded_,
                        padded_, best);
  std::vector<float> product(static_cast<size_t>(g_));
  for (int64_t r = 0; r < count; ++r) {
    const float* own0 = first.data() + r * padded_;
    const float* own1 = second.data() + r * padded_;
    // The partner of k1: a column of cross lies scattered in memory, and is computed again faster.
    multiply_square(tables.sub_hessian.data(), centroid_of(m1, best[r]), g_, product.data());
    for (float& value : product) value = -value;
    int32_t partner;
    kernels_.nearest(own0, columns(m0), product.data(), 1, g_, padded_, &partner);
    int32_t& code0 = codes[r * num_codebooks_ + m0];
    int32_t& code1 = codes[r * num_codebooks_ + m1];
    const auto cost = [&](int64_t k0, int64_t k1) {
      return own0[k0] + cross[k0 * padded_ + k1] + own1[k1];
    };
    if (cost(partner, best[r]) < cost(code0, code1)) {
      code0 = partner;
      code1 = best[r];
    }
  }
}

void AdditiveSearch::search_neighbors(int64_t count, const int64_t* code_groups,
                                      const float* wanted, int32_t* codes) const {
  const auto& norms = tables_.front().norms;
  std::vector<float> others(static_cast<size_t>(g_)), rest(others.size());
  std::vector<float> costs(static_cast<size_t>(padded_));
  for (int64_t r = 0; r < count; ++r) {
    const float scale = scale_of(code_groups[r]);
    if (scale == 0) continue;
    int32_t* own = codes + r * num_codebooks_;
    float lowest = std::numeric_limits<float>::infinity();
    int64_t place = -1;
    int32_t code = 0;
    for (int64_t m = 0; m < num_codebooks_; ++m) {
      std::fill(others.begin(), others.end(), 0.0f);
      for (int64_t n = 0; n < num_codebooks_; ++n) {
        if (n == m) continue;
        for (int64_t d = 0; d < g_; ++d) others[d] += centroid_of(n, own[n])[d];
      }
      float fixed = 0;  // what the other codebooks' sum costs by itself
      for (int64_t d = 0; d < g_; ++d) {
        const float scaled = wanted[r * g_ + d] / scale;
        fixed += others[d] * (others[d] - 2 * scaled);
        rest[d] = scaled - others[d];
      }
      kernels_.costs(norms[m].data(), columns(m), rest.data(), 1, g_, padded_, costs.data());
      costs[own[m]] = std::numeric_limits<float>::infinity();
      const auto best = std::min_element(costs.begin(), costs.begin() + num_centroids_);
      if (!(fixed + *best < lowest)) continue;
      lowest = fixed + *best;
      place = m;
      code = static_cast<int32_t>(best - costs.begin());
    }
    if (place >= 0) own[place] = code;
  }
}

void AdditiveSearch::decode(int64_t count, const int64_t* code_groups, const int32_t* codes,
                            float* values) const {
  for (int64_t i = 0; i < count; ++i, codes += num_codebooks_, values += g_) {
    std::copy_n(centroid_of(0, codes[0]), g_, values);
    for (int64_t m = 1; m < num_codebooks_; ++m) {
      const float* centroid = centroid_of(m, codes[m]);
      for (int64_t d = 0; d < g_; ++d) values[d] += centroid[d];
    }
    const float scale = scale_of(code_groups[i]);
    for (int64_t d = 0; d < g_; ++d) values[d] *= scale;
  }
}

}  // namespace bitsmith
