#include "compressor/quantize/additive_initial_codebooks.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "compressor/representation/kinds/additive_dequantize.h"
#include "compressor/representation/kinds/additive_search.h"

namespace bitsmith {
namespace {

// Points that a codebook is trained on: as many as make it good, which a large matrix has many
// times over. All points are then assigned, and the centers set to their means.
constexpr int64_t kPointsPerCentroid = 256, kFewestPoints = 65536, kMostPoints = int64_t{1} << 20;

// `count` distinct indices below n; all of them, again and again, when there are too few.
torch::Tensor random_points(int64_t n, int64_t count, Random& random) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  auto chosen = torch::empty({count}, torch::kLong);
  auto* out = chosen.mutable_data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = i % n;
    std::swap(order[at], order[at + random.below(static_cast<uint32_t>(n - at))]);
    out[i] = order[at];
  }
  return chosen;
}

class WeightedKMeans {
 public:
  WeightedKMeans(const torch::Tensor& points, const torch::Tensor& scales,
                 const torch::Tensor& weights, int64_t group_size)
      : points_(points),
        row_weights_(scales.square()),
        ones_(torch::ones_like(scales)),
        weights_(weights),
        g_(group_size),
        weighted_(points * weights),
        spread_(weights.expand_as(points).contiguous()) {}

  // centers [1, K, g], codes [n, 1]
  void run(int iterations, int64_t num_centroids, Random& random) {
    const auto groups = points_.reshape({-1, g_});
    centers =
        groups.index_select(0, random_points(groups.size(0), num_centroids, random)).unsqueeze(0);
    codes = torch::zeros({groups.size(0), 1}, torch::kInt);
    assign();
    for (int i = 0; i < iterations; ++i) {
      update();
      const auto before = codes;
      assign();
      const int64_t moved = (codes != before).sum().item<int64_t>();
      if (moved * 1000 <= codes.size(0)) break;  // what is left to gain is lost in what follows
    }
    update();
  }
  // From centers found elsewhere: codes, and the centers at their means.
  void settle(const torch::Tensor& found) {
    centers = found;
    const auto groups = points_.reshape({-1, g_});
    codes = torch::zeros({groups.size(0), 1}, torch::kInt);
    assign();
    update();
  }
  torch::Tensor centers, codes;

 private:
  void assign() {
    AdditiveSearch search(centers, ones_, points_.size(1) / g_);
    codes = search_code_groups(search, {}, codes, points_, Objective(weights_), {});
  }

  // Each center to the weighted mean of its points; centers without points to the worst ones.
  void update() {
    const auto scatter = [&](const torch::Tensor& values) {
      return additive_decode_transpose(values, centers, row_weights_, codes).codebooks;
    };
    const auto mass = scatter(spread_);
    const auto means = scatter(weighted_) / mass.clamp_min(1e-30);
    centers = torch::where(mass > 0, means, centers);
    const auto empty = mass[0].amax(1).le(0).nonzero().squeeze(1);
    if (empty.numel() == 0) return;
    const auto error = points_ - additive_decode(centers, ones_, codes);
    auto cost = (error.square() * weights_).reshape({points_.size(0), -1, g_}).sum(2);
    cost = (cost * (row_weights_.dim() == 1 ? row_weights_.unsqueeze(1) : row_weights_)).flatten();
    const int64_t count = std::min(empty.size(0), cost.size(0));
    const auto worst = std::get<1>(cost.sort(/*stable=*/true, 0, /*descending=*/true));
    const auto seeds = points_.reshape({-1, g_}).index_select(0, worst.narrow(0, 0, count));
    centers[0].index_copy_(0, empty.narrow(0, 0, count), seeds);
  }

  torch::Tensor points_, row_weights_, ones_, weights_;
  int64_t g_;
  torch::Tensor weighted_, spread_;
};

// Some rows, in ascending order, with about as many groups as k-means wants; undefined: all.
torch::Tensor training_rows(const torch::Tensor& points, int64_t group_size, int64_t num_centroids,
                            Random& random) {
  const int64_t wanted = std::clamp(kPointsPerCentroid * num_centroids, kFewestPoints, kMostPoints);
  const int64_t rows = points.size(0), per_row = points.size(1) / group_size;
  const int64_t some = (wanted + per_row - 1) / per_row;
  if (some >= rows) return {};
  return std::get<0>(random_points(rows, some, random).sort());
}

}  // namespace

InitialAdditive residual_kmeans(const torch::Tensor& normalized, const torch::Tensor& scales,
                                const torch::Tensor& weights, const AdditiveSpec& spec,
                                int iterations, Random& random) {
  const int64_t num_centroids = int64_t{1} << spec.nbits_per_codebook;
  std::vector<torch::Tensor> centers, codes;
  const auto rows = training_rows(normalized, spec.in_group_size, num_centroids, random);
  auto rest = normalized;
  for (int m = 0; m < spec.num_codebooks; ++m) {
    WeightedKMeans all(rest, scales, weights, spec.in_group_size);
    if (rows.defined()) {
      WeightedKMeans some(rest.index_select(0, rows), scales.index_select(0, rows), weights,
                          spec.in_group_size);
      some.run(iterations, num_centroids, random);
      all.settle(some.centers);
    } else {
      all.run(iterations, num_centroids, random);
    }
    rest = rest - additive_decode(all.centers, torch::ones_like(scales), all.codes);
    centers.push_back(all.centers);
    codes.push_back(all.codes);
  }
  return {torch::cat(centers), torch::cat(codes, 1)};
}

}  // namespace bitsmith
