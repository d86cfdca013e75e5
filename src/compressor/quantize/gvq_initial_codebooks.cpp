#include "compressor/quantize/gvq_initial_codebooks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/random.h"
#include "compressor/parallel.h"
#include "kernels/kernel_table.h"

namespace bitsmith {
namespace {

constexpr int64_t kMostExactPoints = 65536;
constexpr int kMostDims = 4;

// x solves A x = b, A [d, d] symmetric positive semi-definite, by Cholesky with a floor on the
// pivots: a direction that no vector of the cluster feels keeps `fallback`.
void solve_small(const double* a, const double* b, const float* fallback, int d, float* x) {
  double l[kMostDims * kMostDims] = {}, y[kMostDims], trace = 0;
  for (int i = 0; i < d; ++i) trace += a[i * d + i];
  if (!(trace > 0)) {
    std::copy_n(fallback, d, x);
    return;
  }
  const double ridge = 1e-7 * trace / d;
  for (int i = 0; i < d; ++i) {
    for (int j = 0; j <= i; ++j) {
      double sum = a[i * d + j] + (i == j ? ridge : 0);
      for (int k = 0; k < j; ++k) sum -= l[i * d + k] * l[j * d + k];
      l[i * d + j] = i == j ? std::sqrt(std::max(sum, ridge)) : sum / l[j * d + j];
    }
    y[i] = b[i] + ridge * fallback[i];
    for (int k = 0; k < i; ++k) y[i] -= l[i * d + k] * y[k];
    y[i] /= l[i * d + i];
  }
  double z[kMostDims];
  for (int i = d - 1; i >= 0; --i) {
    z[i] = y[i];
    for (int k = i + 1; k < d; ++k) z[i] -= l[k * d + i] * z[k];
    z[i] /= l[i * d + i];
    x[i] = static_cast<float>(z[i]);
  }
}

// The vectors of one strip: place p * rows + r is row r's vector at place p, so that the vectors
// which share a sub-Hessian lie together.
class Strip {
 public:
  Strip(const torch::Tensor& points, const torch::Tensor& weights,
        const torch::Tensor& sub_hessians, int64_t first_row, int64_t rows, int64_t centroids,
        const SearchKernels& kernels)
      : kernels_(kernels),
        d_(static_cast<int>(sub_hessians.size(1))),
        places_(sub_hessians.size(0)),
        rows_(rows),
        k_(centroids),
        padded_((centroids + kCodePadding - 1) / kCodePadding * kCodePadding),
        sub_hessians_(sub_hessians.const_data_ptr<float>()),
        x_(static_cast<size_t>(places_ * rows * d_)),
        mx_(x_.size()),
        weight_(static_cast<size_t>(places_ * rows), 1.0f),
        columns_(static_cast<size_t>(d_ * padded_)),
        codes(weight_.size(), 0),
        centers(static_cast<size_t>(k_ * d_)) {
    const auto* from = points.const_data_ptr<float>();
    const auto* w = weights.defined() ? weights.const_data_ptr<float>() : nullptr;
    for (int64_t p = 0; p < places_; ++p) {
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t at = p * rows + r;
        std::copy_n(from + (first_row + r) * places_ * d_ + p * d_, d_, x_.begin() + at * d_);
        if (w != nullptr) weight_[at] = w[(first_row + r) * places_ + p];
        apply_sub_hessian(p, x_.data() + at * d_, mx_.data() + at * d_);
      }
    }
  }

  int64_t size() const { return places_ * rows_; }
  int dims() const { return d_; }
  const float* point(int64_t at) const { return x_.data() + at * d_; }
  // What the difference of a point to the values costs.
  double cost(int64_t at, const float* values) const {
    float e[kMostDims], me[kMostDims];
    for (int t = 0; t < d_; ++t) e[t] = point(at)[t] - values[t];
    apply_sub_hessian(at / rows_, e, me);
    double sum = 0;
    for (int t = 0; t < d_; ++t) sum += double{e[t]} * me[t];
    return weight_[at] * sum;
  }
  // nearest[at] = the lesser of itself and what point `at` costs as `values`; returns their sum.
  double keep_nearer(const float* values, std::vector<float>& nearest) const {
    const auto keep = d_ == 1   ? &Strip::keep_nearer_in<1>
                      : d_ == 2 ? &Strip::keep_nearer_in<2>
                                : &Strip::keep_nearer_in<4>;
    return (this->*keep)(values, nearest);
  }
  double weight_of(int64_t at) const {
    return double{weight_[at]} * sub_hessians_[at / rows_ * d_ * d_];
  }

  // Each vector to its nearest center; returns whether any code changed.
  bool assign() {
    for (int64_t k = 0; k < k_; ++k) {
      for (int t = 0; t < d_; ++t) columns_[t * padded_ + k] = centers[k * d_ + t];
    }
    std::vector<float> norms(static_cast<size_t>(padded_), std::numeric_limits<float>::infinity());
    std::vector<int32_t> best(static_cast<size_t>(rows_));
    bool changed = false;
    for (int64_t p = 0; p < places_; ++p) {
      std::fill_n(norms.begin(), k_, 0.0f);
      for (int i = 0; i < d_; ++i) {
        const float* ci = columns_.data() + i * padded_;
        for (int j = 0; j < d_; ++j) {
          const float m = sub_hessians_[(p * d_ + i) * d_ + j];
          const float* cj = columns_.data() + j * padded_;
          for (int64_t k = 0; k < k_; ++k) norms[k] += m * ci[k] * cj[k];
        }
      }
      kernels_.nearest(norms.data(), columns_.data(), mx_.data() + p * rows_ * d_, rows_, d_,
                       padded_, best.data());
      for (int64_t r = 0; r < rows_; ++r) {
        changed |= codes[p * rows_ + r] != best[r];
        codes[p * rows_ + r] = best[r];
      }
    }
    return changed;
  }

  // Each center to the best value for its vectors: (sum w M)^-1 sum w M x. A center without vectors
  // goes to the vector that now costs most.
  void update() {
    std::vector<double> a(static_cast<size_t>(k_ * d_ * d_)), b(static_cast<size_t>(k_ * d_));
    std::vector<int64_t> members(static_cast<size_t>(k_));
    const auto add = d_ == 1   ? &Strip::add_members<1>
                     : d_ == 2 ? &Strip::add_members<2>
                               : &Strip::add_members<4>;
    (this->*add)(a.data(), b.data(), members.data());
    for (int64_t k = 0; k < k_; ++k) {
      if (members[k] == 0) continue;
      float* own = centers.data() + k * d_;
      solve_small(a.data() + k * d_ * d_, b.data() + k * d_, own, d_, own);
    }
    reseed(members);
  }

 private:
  template <int kDims>
  double keep_nearer_in(const float* values, std::vector<float>& nearest) const {
    double total = 0;
    for (int64_t p = 0; p < places_; ++p) {
      float m[kDims * kDims], sum = 0;
      std::copy_n(sub_hessians_ + p * kDims * kDims, kDims * kDims, m);
      for (int64_t at = p * rows_; at < (p + 1) * rows_; ++at) {
        float e[kDims], cost = 0;
        for (int i = 0; i < kDims; ++i) e[i] = x_[at * kDims + i] - values[i];
        for (int i = 0; i < kDims; ++i) {
          for (int j = 0; j < kDims; ++j) cost += m[i * kDims + j] * e[i] * e[j];
        }
        nearest[at] = std::min(nearest[at], std::max(cost * weight_[at], 0.0f));
      }
      for (int64_t at = p * rows_; at < (p + 1) * rows_; ++at) sum += nearest[at];
      total += sum;
    }
    return total;
  }

  // The sums of w M and w M x over each center's vectors.
  template <int kDims>
  void add_members(double* a, double* b, int64_t* members) const {
    for (int64_t p = 0; p < places_; ++p) {
      double m[kDims * kDims];
      for (int i = 0; i < kDims * kDims; ++i) m[i] = sub_hessians_[p * kDims * kDims + i];
      for (int64_t at = p * rows_; at < (p + 1) * rows_; ++at) {
        const int64_t k = codes[at];
        const double w = weight_[at];
        ++members[k];
        for (int i = 0; i < kDims * kDims; ++i) a[k * kDims * kDims + i] += w * m[i];
        for (int t = 0; t < kDims; ++t) b[k * kDims + t] += w * mx_[at * kDims + t];
      }
    }
  }

  void apply_sub_hessian(int64_t place, const float* x, float* y) const {
    const float* m = sub_hessians_ + place * d_ * d_;
    for (int i = 0; i < d_; ++i) {
      y[i] = 0;
      for (int j = 0; j < d_; ++j) y[i] += m[i * d_ + j] * x[j];
    }
  }

  void reseed(const std::vector<int64_t>& members) {
    const auto empty = std::count(members.begin(), members.end(), 0);
    if (empty == 0) return;
    std::vector<std::pair<double, int64_t>> costs(static_cast<size_t>(size()));
    for (int64_t at = 0; at < size(); ++at) {
      costs[at] = {-cost(at, centers.data() + codes[at] * d_), at};
    }
    const auto worst = std::min<int64_t>(empty, size());
    std::partial_sort(costs.begin(), costs.begin() + worst, costs.end());
    int64_t next = 0;
    for (int64_t k = 0; k < k_ && next < worst; ++k) {
      if (members[k] > 0) continue;
      std::copy_n(point(costs[next++].second), d_, centers.begin() + k * d_);
    }
  }

  const SearchKernels& kernels_;
  int d_;
  int64_t places_, rows_, k_, padded_;
  const float* sub_hessians_;
  std::vector<float> x_, mx_;  // points, and the sub-Hessians times them
  std::vector<float> weight_;
  std::vector<float> columns_;  // centers transposed and padded [D, padded]

 public:
  std::vector<int32_t> codes;
  std::vector<float> centers;  // [K, D]
};

// k-means++: each next center is drawn by its cost to the nearest one so far.
void init_plus_plus(Strip& strip, int64_t count, Random& random) {
  const int d = strip.dims();
  std::vector<float> nearest(static_cast<size_t>(strip.size()), std::numeric_limits<float>::max());
  int64_t chosen = random.below(static_cast<uint32_t>(strip.size()));
  for (int64_t k = 0; k < count; ++k) {
    std::copy_n(strip.point(chosen), d, strip.centers.begin() + k * d);
    double left = random.uniform() * strip.keep_nearer(strip.point(chosen), nearest);
    chosen = 0;
    while (chosen + 1 < strip.size() && left >= nearest[chosen]) left -= nearest[chosen++];
  }
}

// Points at even ranks: by distance from the mean in the covariance's metric (Mahalanobis), or, for
// scalars, by value (quantiles).
void init_by_rank(Strip& strip, int64_t count, bool by_value) {
  const int d = strip.dims();
  const int64_t n = strip.size();
  double mean[kMostDims] = {}, covariance[kMostDims * kMostDims] = {};
  for (int64_t at = 0; at < n; ++at) {
    for (int t = 0; t < d; ++t) mean[t] += strip.point(at)[t] / static_cast<double>(n);
  }
  for (int64_t at = 0; at < n; ++at) {
    for (int i = 0; i < d; ++i) {
      for (int j = 0; j < d; ++j) {
        covariance[i * d + j] += (strip.point(at)[i] - mean[i]) * (strip.point(at)[j] - mean[j]);
      }
    }
  }
  std::vector<std::pair<double, int64_t>> order(static_cast<size_t>(n));
  const float zeros[kMostDims] = {};
  for (int64_t at = 0; at < n; ++at) {
    double e[kMostDims], rank = strip.point(at)[0];
    if (!by_value) {
      float solved[kMostDims];
      for (int t = 0; t < d; ++t) e[t] = strip.point(at)[t] - mean[t];
      solve_small(covariance, e, zeros, d, solved);
      rank = 0;
      for (int t = 0; t < d; ++t) rank += e[t] * solved[t];
    }
    order[at] = {rank, at};
  }
  std::sort(order.begin(), order.end());
  for (int64_t k = 0; k < count; ++k) {
    // Quantiles at the middle of each share; the Mahalanobis ranks from the first to the last.
    const double place = by_value
                             ? (k + 0.5) / count * n
                             : static_cast<double>(k) / std::max<int64_t>(count - 1, 1) * (n - 1);
    const auto at = std::clamp<int64_t>(static_cast<int64_t>(place), 0, n - 1);
    std::copy_n(strip.point(order[at].second), d, strip.centers.begin() + k * d);
  }
}

void exact_scalars(Strip& strip, int64_t count) {
  const int64_t n = strip.size();
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return *strip.point(a) < *strip.point(b); });
  std::vector<double> x, w;
  for (const int64_t at : order) {
    x.push_back(*strip.point(at));
    w.push_back(std::max(strip.weight_of(at), 1e-30));
  }
  const auto runs = optimal_runs(x, w, count);
  for (int64_t k = 0; k < count; ++k) {
    const int64_t begin = runs[k], end = k + 1 < count ? runs[k + 1] : n;
    double sum = 0, mass = 0;
    for (int64_t i = begin; i < end; ++i) {
      sum += w[i] * x[i];
      mass += w[i];
      strip.codes[order[i]] = static_cast<int32_t>(k);
    }
    // A run is empty only when there are fewer values than clusters.
    strip.centers[k] = static_cast<float>(mass > 0 ? sum / mass : x[std::min(begin, n - 1)]);
  }
}

}  // namespace

std::vector<int64_t> optimal_runs(const std::vector<double>& x, const std::vector<double>& w,
                                  int64_t clusters) {
  const auto n = static_cast<int64_t>(x.size());
  std::vector<double> mass(n + 1), first(n + 1), second(n + 1);
  const double shift = x[n / 2];  // sums of squares lose fewer digits near zero
  for (int64_t i = 0; i < n; ++i) {
    const double v = x[i] - shift;
    mass[i + 1] = mass[i] + w[i];
    first[i + 1] = first[i] + w[i] * v;
    second[i + 1] = second[i] + w[i] * v * v;
  }
  const auto cost = [&](int64_t begin, int64_t end) {
    const double m = mass[end] - mass[begin], s = first[end] - first[begin];
    return m > 0 ? std::max(0.0, second[end] - second[begin] - s * s / m) : 0.0;
  };
  std::vector<double> before(n + 1), now(n + 1);
  for (int64_t i = 0; i <= n; ++i) before[i] = cost(0, i);
  std::vector<std::vector<int32_t>> from(static_cast<size_t>(clusters));
  // now[i] = min over j of before[j] + cost(j, i); the best j never falls as i grows.
  struct Range {
    int64_t low, high, best_low, best_high;
  };
  std::vector<Range> stack;
  for (int64_t k = 1; k < clusters; ++k) {
    auto& choice = from[k];
    choice.assign(static_cast<size_t>(n + 1), 0);
    stack.push_back({0, n, 0, n});
    while (!stack.empty()) {
      const Range range = stack.back();
      stack.pop_back();
      if (range.low > range.high) continue;
      const int64_t middle = (range.low + range.high) / 2;
      double lowest = std::numeric_limits<double>::infinity();
      int64_t best = range.best_low;
      for (int64_t j = range.best_low; j <= std::min(middle, range.best_high); ++j) {
        const double total = before[j] + cost(j, middle);
        if (total < lowest) {
          lowest = total;
          best = j;
        }
      }
      now[middle] = lowest;
      choice[middle] = static_cast<int32_t>(best);
      stack.push_back({range.low, middle - 1, range.best_low, best});
      stack.push_back({middle + 1, range.high, best, range.best_high});
    }
    before = now;
  }
  std::vector<int64_t> runs(static_cast<size_t>(clusters));
  int64_t end = n;
  for (int64_t k = clusters - 1; k >= 0; --k) {
    runs[k] = k > 0 ? from[k][end] : 0;
    end = runs[k];
  }
  return runs;
}

InitialCodebooks initial_codebooks(const torch::Tensor& points, const torch::Tensor& weights,
                                   const torch::Tensor& sub_hessians, int64_t rows,
                                   int64_t centroids, CodebookInit init, int iterations,
                                   uint64_t seed) {
  const auto x = points.contiguous(), m = sub_hessians.to(torch::kFloat).contiguous();
  const auto w = weights.defined() ? weights.contiguous() : weights;
  const int64_t out = x.size(0), places = m.size(0), d = m.size(1);
  const int64_t strips = (out + rows - 1) / rows;
  InitialCodebooks initial{torch::empty({strips, 1, centroids, d}, torch::kFloat),
                           torch::empty({out * places, 1}, torch::kInt)};
  auto* centers = initial.centroids.mutable_data_ptr<float>();
  auto* codes = initial.codes.mutable_data_ptr<int32_t>();
  parallel_tasks(strips, [&](int64_t s) {
    const int64_t first = s * rows, height = std::min(rows, out - first);
    Strip strip(x, w, m, first, height, centroids, kernels().search);
    Random random(seed, static_cast<uint64_t>(s));
    const bool exact = d == 1 && init == CodebookInit::kBest && strip.size() <= kMostExactPoints;
    if (exact) {
      exact_scalars(strip, centroids);
    } else {
      if (init == CodebookInit::kMahalanobis || init == CodebookInit::kQuantiles) {
        init_by_rank(strip, centroids, init == CodebookInit::kQuantiles);
      } else {
        init_plus_plus(strip, centroids, random);
      }
      for (int i = 0; i < iterations; ++i) {
        if (!strip.assign() && i > 0) break;
        strip.update();
      }
      strip.assign();
    }
    std::copy(strip.centers.begin(), strip.centers.end(), centers + s * centroids * d);
    for (int64_t p = 0; p < places; ++p) {
      for (int64_t r = 0; r < height; ++r) {
        codes[(first + r) * places + p] = strip.codes[p * height + r];
      }
    }
  });
  return initial;
}

}  // namespace bitsmith
