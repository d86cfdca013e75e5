#include "compressor/quantize/uniform_grid.h"

#include <gtest/gtest.h>

#include "compressor/representation/format_parts.h"

namespace bitsmith {
namespace {

// The search as LibTorch expressions over all groups at once: slow, and plain to read.
struct Candidate {
  torch::Tensor scales, zeros;  // [n, 1]
};

std::vector<double> clipping_grid(int nbits) {
  const double lowest = nbits <= 2 ? 0.25 : nbits == 3 ? 0.4 : nbits == 4 ? 0.55 : 0.8;
  constexpr int kSteps = 24;
  std::vector<double> shares;
  for (int i = 0; i < kSteps; ++i) shares.push_back(lowest + (1 - lowest) * i / (kSteps - 1.0));
  return shares;
}

torch::Tensor codes_on(const torch::Tensor& groups, const Candidate& grid, int nbits) {
  const auto safe = torch::where(grid.scales == 0, torch::ones_like(grid.scales), grid.scales);
  return (groups / safe).add_(grid.zeros).round_().clamp_(0, (1 << nbits) - 1);
}

// Keeps, group by group, the better of `best` and `candidate` after one least-squares step on its
// scale: s = sum h w c / sum h c^2 with c = code - zero.
class Search {
 public:
  Search(const torch::Tensor& groups, const torch::Tensor& weights, int nbits)
      : groups_(groups), weights_(weights), nbits_(nbits) {}

  void offer(Candidate candidate) {
    candidate.scales = round_to_fp16(candidate.scales);
    keep(candidate);
    const auto levels = codes_on(groups_, candidate, nbits_).sub_(candidate.zeros);
    const auto power = weighted(levels * levels);
    const auto fit = weighted(groups_ * levels) / power.clamp_min(1e-30);
    candidate.scales = round_to_fp16(torch::where(power > 0, fit, candidate.scales));
    keep(candidate);
  }
  Candidate best;

 private:
  torch::Tensor weighted(const torch::Tensor& values) const {
    return (weights_.defined() ? values * weights_ : values).sum(1, /*keepdim=*/true);
  }
  void keep(const Candidate& candidate) {
    const auto levels = codes_on(groups_, candidate, nbits_).sub_(candidate.zeros);
    const auto error = weighted((groups_ - levels * candidate.scales).square_());
    if (!best.scales.defined()) {
      best = candidate;
      lowest_ = error;
      return;
    }
    const auto better = error < lowest_;
    best.scales = torch::where(better, candidate.scales, best.scales);
    best.zeros = torch::where(better, candidate.zeros, best.zeros);
    lowest_ = torch::where(better, error, lowest_);
  }

  torch::Tensor groups_, weights_, lowest_;
  int nbits_;
};

Candidate search_symmetric(const torch::Tensor& groups, const torch::Tensor& weights, int nbits) {
  Search search(groups, weights, nbits);
  const double half = 1 << (nbits - 1);
  const auto extreme = groups.abs().amax(1, /*keepdim=*/true);
  const auto zeros = torch::full_like(extreme, half);
  // The longer end holds `half` steps; its sign is the scale's.
  for (const double share : clipping_grid(nbits)) {
    for (const double steps : {-half, half}) search.offer({extreme * (share / steps), zeros});
  }
  return search.best;
}

Candidate search_with_zeros(const torch::Tensor& groups, const torch::Tensor& weights, int nbits) {
  Search search(groups, weights, nbits);
  const double largest = (1 << nbits) - 1;
  // The range holds zero, so that the zero point is a code.
  const auto low = groups.amin(1, /*keepdim=*/true).clamp_max(0);
  const auto high = groups.amax(1, /*keepdim=*/true).clamp_min(0);
  for (const double share : clipping_grid(nbits)) {
    const auto scales = (high - low) * (share / largest);
    const auto safe = torch::where(scales == 0, torch::ones_like(scales), scales);
    const auto center = (low * -share / safe).round_();
    for (const int shift : {0, -1, 1}) {
      search.offer({scales, (center + shift).clamp_(0, largest)});
    }
  }
  return search.best;
}

Candidate reference(const torch::Tensor& groups, const torch::Tensor& weights,
                    const UniformSpec& spec) {
  return spec.zero_points ? search_with_zeros(groups, weights, spec.nbits)
                          : search_symmetric(groups, weights, spec.nbits);
}

torch::Tensor errors(const torch::Tensor& groups, const torch::Tensor& weights,
                     const Candidate& grid, int nbits) {
  const auto levels = codes_on(groups, grid, nbits).sub_(grid.zeros);
  const auto squares = (groups - levels * grid.scales).square();
  return (weights.defined() ? squares * weights : squares).sum(1, true);
}

TEST(UniformGridTest, IsAsGoodAsTheReference) {
  torch::manual_seed(2);
  for (const int nbits : {2, 3, 4, 8}) {
    for (const bool zero_points : {false, true}) {
      for (const int64_t size : {5, 16, 64}) {
        const UniformSpec spec{.nbits = nbits, .group_size = size, .zero_points = zero_points};
        auto groups =
            torch::randn({300, size}) * torch::rand({300, 1}) + 0.3 * torch::randn({300, 1});
        groups[7].zero_();
        for (const auto& weights :
             {torch::Tensor(), torch::rand({size}) + 0.1, torch::rand({300, size}) + 0.1}) {
          const auto expected = errors(groups, weights, reference(groups, weights, spec), nbits);
          const UniformGrid grid = best_uniform_grid(groups, weights, spec);
          const Candidate found{grid.scales.unsqueeze(1), grid.zeros.unsqueeze(1)};
          // Sums in another order may prefer another of two nearly equal grids.
          const auto power = (groups.square() * (weights.defined() ? weights : torch::ones({size})))
                                 .sum(1, /*keepdim=*/true);
          const auto excess = errors(groups, weights, found, nbits) - expected;
          EXPECT_TRUE((excess.abs() <= 1e-5 * expected + 1e-10 * power).all().item<bool>())
              << nbits << zero_points << size;
        }
      }
    }
  }
}

TEST(UniformGridTest, ScalesAreOfTheFileAndZerosAreCodes) {
  torch::manual_seed(3);
  const UniformSpec spec{.nbits = 3, .group_size = 16, .zero_points = true};
  const UniformGrid grid = best_uniform_grid(torch::randn({4, 10, 16}), {}, spec);
  EXPECT_EQ(grid.scales.sizes(), (std::vector<int64_t>{4, 10}));
  EXPECT_TRUE(torch::equal(round_to_fp16(grid.scales), grid.scales));
  EXPECT_GE(grid.zeros.min().item<int>(), 0);
  EXPECT_LE(grid.zeros.max().item<int>(), 7);
}

}  // namespace
}  // namespace bitsmith
